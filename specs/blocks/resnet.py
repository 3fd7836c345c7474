"""Residual block with a time-dependent scale and shift."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from specs.blocks.base import (
    DEFAULT_GROUPS,
    Activations,
    Arguments,
    Block,
    Complaint,
    Costs,
    Scene,
    Use,
    convolution,
    divisible,
    linear,
    norm,
    record_convolution,
)
from specs.blocks.size import Size
from specs.blocks.tape import Tape, Value


class ResnetArguments(Arguments):
    """Arguments of ``resnet``."""

    groups: int = Field(default=DEFAULT_GROUPS, ge=1, le=4096, description="groups of both group norms")
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0, description="dropout before the last convolution")


class Resnet(Block):
    """GroupNorm, SiLU, 3x3 convolution; GroupNorm, scale and shift, SiLU, dropout, 3x3 convolution; plus a shortcut."""

    name = "resnet"
    summary = "residual block of two 3x3 convolutions with scale and shift by the time embedding"
    equation = "y = shortcut(x) + conv(silu(norm(conv(silu(norm(x)))) * (1 + a) + b)), (a, b) = linear(silu(time))"
    source = "arXiv 2310.15111, appendix B; Dhariwal and Nichol, arXiv 2105.05233"
    Args: ClassVar = ResnetArguments
    ports = frozenset({"time"})

    @classmethod
    def check(cls, args: ResnetArguments, in_channels: int, width: int, size: Size) -> list[Complaint]:
        problems = divisible("width", width, "groups", args.groups)
        if in_channels != width:
            problems += divisible("input width", in_channels, "groups", args.groups)
        return problems

    @classmethod
    def costs(cls, args: ResnetArguments, in_channels: int, width: int, size: Size, scene: Scene) -> Costs:
        pixels = size.positions
        total = norm(in_channels) + convolution(in_channels, width, 3, pixels)
        total += linear(scene.time_width, 2 * width)
        total += norm(width) + convolution(width, width, 3, pixels)
        if in_channels != width:
            total += convolution(in_channels, width, 1, pixels)
        return total

    @classmethod
    def activations(cls, args: ResnetArguments, in_channels: int, width: int, size: Size, scene: Scene) -> Activations:
        pixels = size.positions
        # First half: norm, SiLU. Second half: convolution, norm, scale and shift, SiLU. Scale and statistics by frame.
        saved = (2 * in_channels + 4 * width) * pixels + (width + 2 * 2 * args.groups) * size.frames
        if args.dropout:
            saved += width * pixels
        shortcut = width * pixels if in_channels != width else 0
        workspace = max(2 * in_channels * pixels, 2 * width * pixels + shortcut)
        return Activations(saved, workspace)

    @classmethod
    def record(cls, tape: Tape, x: Value, use: Use) -> Value:
        assert use.time is not None
        groups, positions, frames = use.args.groups, use.size.positions, use.size.frames
        h = tape.activation(tape.norm(x, 2 * groups * frames))
        h = record_convolution(tape, h, use.in_channels, use.width, 9, positions)
        modulation = tape.linear(use.time, 2 * use.width, use.scene.time_width, 2 * use.width)
        if frames > 1:
            modulation = tape.copy(modulation, 2 * use.width * frames)
        scale, shift = (tape.view(modulation, use.width * frames) for _ in range(2))
        h = tape.activation(tape.scale_and_shift(tape.norm(h, 2 * groups * frames), scale, shift))
        if use.in_channels != use.width:
            x = record_convolution(tape, x, use.in_channels, use.width, 1, positions)
        if use.args.dropout:
            h = tape.dropout(h)
        return tape.add(x, record_convolution(tape, h, use.width, use.width, 9, positions))
