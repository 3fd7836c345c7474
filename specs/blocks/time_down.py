"""Fewer frames, by a convolution over time with stride."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from specs.blocks.base import (
    Activations,
    Arguments,
    Block,
    Complaint,
    Costs,
    Scene,
    Use,
    convolution_over_time,
    record_convolution,
)
from specs.blocks.size import Size, frames_of
from specs.blocks.tape import Tape, Value


class TimeDownArguments(Arguments):
    """Arguments of ``time_down``."""

    factor: int = Field(default=2, ge=2, le=64, description="how many times fewer frames the output has")

    @property
    def kernel(self) -> int:
        """Length of the kernel in frames. It grows with the factor, so that every frame is read."""
        return 2 * (self.factor // 2) + 1


class TimeDown(Block):
    """Convolution over frames with stride ``factor``. It starts as the first frame of each group."""

    name = "time_down"
    summary = "fewer frames: convolution over time with stride, from the first frame of each group"
    equation = "y_j = b + sum of w_i x_(factor j + i), i from -h to h, h = factor // 2"
    source = "arXiv 2310.15111, its code, for a factor of 2"
    Args: ClassVar = TimeDownArguments
    temporal = True

    @classmethod
    def output_size(cls, args: TimeDownArguments, size: Size) -> Size:
        return size.with_frames(size.frames // args.factor)

    @classmethod
    def check(cls, args: TimeDownArguments, in_channels: int, width: int, size: Size) -> list[Complaint]:
        if size.frames % args.factor:
            return [("bad-frames", f"{frames_of(size.frames)} cannot be divided by {args.factor}")]
        return []

    @classmethod
    def costs(cls, args: TimeDownArguments, in_channels: int, width: int, size: Size, scene: Scene) -> Costs:
        return convolution_over_time(in_channels, width, args.kernel, cls.output_size(args, size).positions)

    @classmethod
    def activations(
        cls, args: TimeDownArguments, in_channels: int, width: int, size: Size, scene: Scene
    ) -> Activations:
        output = cls.output_size(args, size)
        # The result of the convolution, before its frames are put outermost in memory.
        return Activations(workspace=width * output.positions if output.frames > 1 else 0)

    @classmethod
    def record(cls, tape: Tape, x: Value, use: Use) -> Value:
        positions = cls.output_size(use.args, use.size).positions
        return tape.copy(record_convolution(tape, x, use.in_channels, use.width, use.args.kernel, positions))
