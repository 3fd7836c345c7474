"""Convolution over the frames of a clip, at each place by itself."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, field_validator

from specs.blocks.base import (
    DEFAULT_GROUPS,
    Activations,
    Arguments,
    Block,
    Complaint,
    Costs,
    Scene,
    Use,
    convolution_over_time,
    divisible,
    norm,
    record_convolution,
    same_width,
)
from specs.blocks.size import Size
from specs.blocks.tape import Tape, Value


class TemporalConvArguments(Arguments):
    """Arguments of ``temporal_conv``."""

    groups: int = Field(default=DEFAULT_GROUPS, ge=1, le=4096, description="groups of the group norm")
    kernel: int = Field(default=3, ge=1, le=31, description="length of the kernel in frames, odd")

    @field_validator("kernel")
    @classmethod
    def _odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError("the length of a kernel must be odd")
        return value


class TemporalConv(Block):
    """GroupNorm over each frame, SiLU, convolution over frames; plus the input. It starts as the identity."""

    name = "temporal_conv"
    summary = "residual convolution over the frames at each place"
    equation = "y = x + w *_t silu(norm(x)) + b"
    source = "Ho et al., Imagen Video, arXiv 2210.02303; Blattmann et al., Video LDM, arXiv 2304.08818"
    Args: ClassVar = TemporalConvArguments
    temporal = True

    @classmethod
    def check(cls, args: TemporalConvArguments, in_channels: int, width: int, size: Size) -> list[Complaint]:
        return divisible("width", width, "groups", args.groups) + same_width(cls.name, in_channels, width)

    @classmethod
    def costs(cls, args: TemporalConvArguments, in_channels: int, width: int, size: Size, scene: Scene) -> Costs:
        return norm(width) + convolution_over_time(width, width, args.kernel, size.positions)

    @classmethod
    def activations(
        cls, args: TemporalConvArguments, in_channels: int, width: int, size: Size, scene: Scene
    ) -> Activations:
        one = width * size.positions
        # Norm, SiLU; statistics of the norm.
        return Activations(saved=2 * one + 2 * args.groups * size.frames, workspace=2 * one)

    @classmethod
    def record(cls, tape: Tape, x: Value, use: Use) -> Value:
        h = tape.activation(tape.norm(x, 2 * use.args.groups * use.size.frames))
        y = record_convolution(tape, h, use.width, use.width, use.args.kernel, use.size.positions)
        return tape.copy(tape.add(x, y))
