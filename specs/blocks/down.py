"""Downsampling by a convolution with stride."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from specs.blocks.base import Arguments, Block, Complaint, Costs, Scene, convolution


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
    def output_resolution(cls, args: DownArguments, resolution: int) -> int:
        return resolution // args.factor

    @classmethod
    def check(cls, args: DownArguments, in_channels: int, width: int, resolution: int) -> list[Complaint]:
        if resolution % args.factor:
            return [("bad-resolution", f"{resolution} pixels are not divisible by {args.factor}")]
        return []

    @classmethod
    def costs(cls, args: DownArguments, in_channels: int, width: int, resolution: int, scene: Scene) -> Costs:
        return convolution(in_channels, width, 3, (resolution // args.factor) ** 2)
