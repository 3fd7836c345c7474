"""Nearest-neighbor upsampling, then a convolution."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from specs.blocks.base import (
    Activations,
    Arguments,
    Block,
    Costs,
    Scene,
    Use,
    convolution,
    record_convolution,
)
from specs.blocks.size import Size
from specs.blocks.tape import Tape, Value


class UpArguments(Arguments):
    """Arguments of ``up``."""

    factor: int = Field(default=2, ge=2, le=16, description="how many times larger the output is")


class Up(Block):
    """Nearest-neighbor upsampling by ``factor``, then a 3x3 convolution."""

    name = "up"
    summary = "upsampling: nearest neighbor, then a 3x3 convolution"
    equation = "y = w * repeat(x) + b"
    source = "arXiv 2310.15111, appendix B"
    Args: ClassVar = UpArguments

    @classmethod
    def output_size(cls, args: UpArguments, size: Size) -> Size:
        return size.with_side(size.side * args.factor)

    @classmethod
    def costs(cls, args: UpArguments, in_channels: int, width: int, size: Size, scene: Scene) -> Costs:
        return convolution(in_channels, width, 3, cls.output_size(args, size).positions)

    @classmethod
    def activations(cls, args: UpArguments, in_channels: int, width: int, size: Size, scene: Scene) -> Activations:
        # The convolution reads the upsampled input, not the input itself.
        repeated = in_channels * cls.output_size(args, size).positions
        return Activations(saved=repeated, workspace=repeated, keeps_input=False)

    @classmethod
    def record(cls, tape: Tape, x: Value, use: Use) -> Value:
        positions = cls.output_size(use.args, use.size).positions
        repeated = tape.copy(x, use.in_channels * positions)
        return record_convolution(tape, repeated, use.in_channels, use.width, 9, positions)
