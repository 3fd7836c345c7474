"""Self-attention over the frames of a clip, at each place by itself."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from specs.blocks.base import (
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
    record_feed_forward,
    same_width,
)
from specs.blocks.size import Size
from specs.blocks.tape import Tape, Value


class TemporalAttentionArguments(Arguments):
    """Arguments of ``temporal_attention``."""

    heads: int = Field(default=8, ge=1, le=1024, description="attention heads")
    positions: Literal["rotary", "none"] = Field(
        default="rotary", description="how queries and keys learn the number of their frame"
    )
    feed_forward: bool = Field(default=True, description="add a feed-forward of four times the width with GELU")
    factor: int = Field(default=1, ge=1, le=16, description="how many times smaller the attention's grid is")


class TemporalAttention(Block):
    """LayerNorm and attention over frames, then a feed-forward; on a smaller grid if there is a factor.

    It starts as the identity.
    """

    name = "temporal_attention"
    summary = "multi-head attention over the frames at each place, with rotary positions and a feed-forward"
    equation = (
        "u = x or, with a factor, w * x; u = u + out(softmax(R(q) R(k)' / sqrt(d)) v); u = u + mlp(norm(u)); "
        "y = u or, with a factor, x + w * repeat(u)"
    )
    source = "arXiv 2310.15111, its code; Su et al., arXiv 2104.09864"
    Args: ClassVar = TemporalAttentionArguments
    temporal = True

    @classmethod
    def check(cls, args: TemporalAttentionArguments, in_channels: int, width: int, size: Size) -> list[Complaint]:
        problems = divisible("width", width, "heads", args.heads) + same_width(cls.name, in_channels, width)
        each = width // args.heads
        if args.positions == "rotary" and width % args.heads == 0 and each % 2:
            near = 2 * args.heads * max(1, round(each / 2))
            message = f"heads of {each} channels have no rotary positions, which turn pairs of channels"
            problems.append(("bad-width", f"{message}; the nearest valid width is {near}, or write 'positions: none'"))
        if size.side % args.factor:
            problems.append(("bad-resolution", f"{size.side} pixels are not divisible by {args.factor}"))
        return problems

    @classmethod
    def costs(cls, args: TemporalAttentionArguments, in_channels: int, width: int, size: Size, scene: Scene) -> Costs:
        positions = _grid(args, size).positions
        total = norm(width) + linear(width, 3 * width, positions) + linear(width, width, positions)
        total += Costs(macs=2 * width * size.frames * positions)
        if args.feed_forward:
            total += norm(width) + linear(width, 4 * width, positions) + linear(4 * width, width, positions)
        if args.factor > 1:
            total += convolution(width, width, 3, positions) + convolution(width, width, 3, size.positions)
        return total

    @classmethod
    def activations(
        cls, args: TemporalAttentionArguments, in_channels: int, width: int, size: Size, scene: Scene
    ) -> Activations:
        positions = _grid(args, size).positions
        one, whole = width * positions, width * size.positions
        # Sequences, their norm with its statistics; queries, keys and values; their result; log-sum-exp of the scores.
        saved = 6 * one + (args.heads + 2) * positions
        if args.feed_forward:
            # Input of the feed-forward, its norm with its statistics, and both sides of the activation.
            saved += 2 * one + 2 * positions + 8 * one
        if args.factor == 1:
            held = 8 if args.feed_forward or args.positions == "rotary" else 5
            return Activations(saved, workspace=held * one, keeps_input=False)
        # The last convolution reads the repeated result. A whole map is at least four smaller ones, so that the nine of
        # the feed-forward are never more.
        return Activations(saved + whole, workspace=2 * whole + one)

    @classmethod
    def record(cls, tape: Tape, x: Value, use: Use) -> Value:
        if use.args.factor == 1:
            return _record_over_frames(tape, x, use, use.size.positions)
        grid, width = _grid(use.args, use.size), use.width
        small = record_convolution(tape, x, width, width, 9, grid.positions)
        repeated = tape.copy(_record_over_frames(tape, small, use, grid.positions), width * use.size.positions)
        return tape.copy(tape.add(x, record_convolution(tape, repeated, width, width, 9, use.size.positions)))


def _grid(args: TemporalAttentionArguments, size: Size) -> Size:
    """Return the size on which the frames attend."""
    return size.with_side(size.side // args.factor)


def _record_over_frames(tape: Tape, x: Value, use: Use, positions: int) -> Value:
    """Record the attention of a grid of ``positions`` over its frames."""
    width, heads = use.width, use.args.heads
    u = tape.copy(x)  # as sequences
    joined = tape.linear(tape.norm(u, 2 * positions), 3 * width * positions, width, 3 * width)
    parts = [tape.view(joined, width * positions) for _ in range(3)]
    if use.args.positions == "rotary":
        parts = [tape.copy(part) for part in parts]
    queries, keys, values = parts
    h = tape.attend(queries, keys, values, items=positions, heads=heads, tokens=use.size.frames)
    u = tape.add(u, tape.linear(h, width * positions, width, width))
    if use.args.feed_forward:
        u = record_feed_forward(tape, u, width, positions, 2 * positions)
    return tape.copy(u)
