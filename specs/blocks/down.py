"""Downsampling by a convolution with stride."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from specs.blocks.base import (
    Arguments,
    Block,
    Complaint,
    Costs,
    Scene,
    Use,
    convolution,
    record_convolution,
)
from specs.blocks.size import Size
from specs.blocks.tape import Tape, Value


class DownArguments(Arguments):
    """Arguments of ``down``."""

    factor: int = Field(default=2, ge=2, le=16, description="how many times smaller the output is")


class Down(Block):
    """3x3 convolution with stride ``factor`` and padding 1."""

    name = "down"
    summary = "downsampling: 3x3 convolution with stride"
    equation = "y = (w * x + b) at every factor-th pixel"
    source = "arXiv 2310.15111, appendix B"
    Args: ClassVar = DownArguments

    @classmethod
    def output_size(cls, args: DownArguments, size: Size) -> Size:
        return size.with_side(size.side // args.factor)

    @classmethod
    def check(cls, args: DownArguments, in_channels: int, width: int, size: Size) -> list[Complaint]:
        if size.side % args.factor:
            return [("bad-resolution", f"{size.side} pixels are not divisible by {args.factor}")]
        return []

    @classmethod
    def costs(cls, args: DownArguments, in_channels: int, width: int, size: Size, scene: Scene) -> Costs:
        return convolution(in_channels, width, 3, cls.output_size(args, size).positions)

    @classmethod
    def record(cls, tape: Tape, x: Value, use: Use) -> Value:
        positions = cls.output_size(use.args, use.size).positions
        return record_convolution(tape, x, use.in_channels, use.width, 9, positions)
