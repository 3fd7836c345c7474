"""More frames, by repetition and a convolution over time."""

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
    convolution_over_time,
    record_convolution,
)
from specs.blocks.size import Size
from specs.blocks.tape import Tape, Value

#: Length of the kernel in frames.
KERNEL = 3


class TimeUpArguments(Arguments):
    """Arguments of ``time_up``."""

    factor: int = Field(default=2, ge=2, le=64, description="how many times more frames the output has")


class TimeUp(Block):
    """Each frame ``factor`` times, then a convolution over three frames. It starts as the repetition."""

    name = "time_up"
    summary = "more frames: repetition, then a convolution over three of them"
    equation = "y = w *_t repeat(x) + b"
    source = "arXiv 2310.15111, its code"
    Args: ClassVar = TimeUpArguments
    temporal = True

    @classmethod
    def output_size(cls, args: TimeUpArguments, size: Size) -> Size:
        return size.with_frames(size.frames * args.factor)

    @classmethod
    def costs(cls, args: TimeUpArguments, in_channels: int, width: int, size: Size, scene: Scene) -> Costs:
        return convolution_over_time(in_channels, width, KERNEL, cls.output_size(args, size).positions)

    @classmethod
    def activations(cls, args: TimeUpArguments, in_channels: int, width: int, size: Size, scene: Scene) -> Activations:
        # The convolution reads the repeated frames, not the input itself.
        positions = cls.output_size(args, size).positions
        repeated = in_channels * positions
        return Activations(saved=repeated, workspace=max(repeated, width * positions), keeps_input=False)

    @classmethod
    def record(cls, tape: Tape, x: Value, use: Use) -> Value:
        positions = cls.output_size(use.args, use.size).positions
        repeated = tape.copy(x, use.in_channels * positions)
        return tape.copy(record_convolution(tape, repeated, use.in_channels, use.width, KERNEL, positions))
