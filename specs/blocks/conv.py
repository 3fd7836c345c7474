"""Convolution."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, field_validator

from specs.blocks.base import (
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


class ConvArguments(Arguments):
    """Arguments of ``conv``."""

    kernel: int = Field(default=3, ge=1, le=31, description="side length of the kernel in pixels, odd")

    @field_validator("kernel")
    @classmethod
    def _odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError("the side length of a kernel must be odd")
        return value


class Conv(Block):
    """A convolution with bias that keeps the resolution."""

    name = "conv"
    summary = "a convolution that keeps the resolution; kernel 1 changes the width alone"
    equation = "y = w * x + b"
    source = "LeCun et al., 1989"
    Args: ClassVar = ConvArguments

    @classmethod
    def costs(cls, args: ConvArguments, in_channels: int, width: int, size: Size, scene: Scene) -> Costs:
        return convolution(in_channels, width, args.kernel, size.positions)

    @classmethod
    def record(cls, tape: Tape, x: Value, use: Use) -> Value:
        kernel = use.args.kernel
        return record_convolution(tape, x, use.in_channels, use.width, kernel * kernel, use.size.positions)
