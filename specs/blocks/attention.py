"""Self-attention over pixels, with cross-attention to text if the entry has text."""

from __future__ import annotations

from typing import ClassVar, Literal

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
    record_feed_forward,
    same_width,
)
from specs.blocks.size import Size
from specs.blocks.tape import Tape, Value


class AttentionArguments(Arguments):
    """Arguments of ``attention``."""

    groups: int = Field(default=DEFAULT_GROUPS, ge=1, le=4096, description="groups of the group norms")
    heads: int = Field(default=8, ge=1, le=1024, description="attention heads")
    feed_forward: bool = Field(default=False, description="add a feed-forward of four times the width with GELU")
    text: Literal["auto"] | bool = Field(default="auto", description="attend to text; auto: if the entry has text")


class Attention(Block):
    """GroupNorm, attention over pixels and, with the same queries, over text; then an optional feed-forward."""

    name = "attention"
    summary = "multi-head attention over pixels and, with the same queries, over text tokens"
    equation = "y = x + out(softmax(q k' / sqrt(d)) v + softmax(q kt' / sqrt(d)) vt); y = y + mlp(norm(y))"
    source = "arXiv 2310.15111, appendix B"
    Args: ClassVar = AttentionArguments
    ports = frozenset({"text"})

    @classmethod
    def reads_text(cls, args: AttentionArguments, scene: Scene) -> bool:
        return scene.text_width is not None and args.text is not False

    @classmethod
    def check(cls, args: AttentionArguments, in_channels: int, width: int, size: Size) -> list[Complaint]:
        problems = divisible("width", width, "groups", args.groups) + divisible("width", width, "heads", args.heads)
        return problems + same_width(cls.name, in_channels, width)

    @classmethod
    def costs(cls, args: AttentionArguments, in_channels: int, width: int, size: Size, scene: Scene) -> Costs:
        pixels = size.positions
        total = norm(width) + convolution(width, 3 * width, 1, pixels) + convolution(width, width, 1, pixels)
        total += Costs(macs=2 * pixels * size.pixels * width)  # each frame by itself
        if cls.reads_text(args, scene):
            assert scene.text_width is not None
            keys_values = linear(scene.text_width, 2 * width, rows=scene.tokens)
            total += norm(scene.text_width)
            total += Costs(parameters=keys_values.parameters, encode_macs=keys_values.macs)
            total += Costs(macs=2 * pixels * scene.tokens * width)
        if args.feed_forward:
            total += norm(width) + convolution(width, 4 * width, 1, pixels) + convolution(4 * width, width, 1, pixels)
        return total

    @classmethod
    def activations(
        cls, args: AttentionArguments, in_channels: int, width: int, size: Size, scene: Scene
    ) -> Activations:
        pixels = size.positions
        one = width * pixels
        # Norm; queries, keys and values; their result; log-sum-exp of the scores; statistics of the norm.
        saved = 5 * one + args.heads * pixels + 2 * args.groups * size.frames
        if cls.reads_text(args, scene):
            assert scene.text_width is not None
            # Norm of the text with its statistics; keys and values, for every frame; a second result, and their sum.
            keys_values = 2 * width * scene.tokens * size.frames
            saved += scene.tokens * (scene.text_width + 2) + keys_values + 2 * one + args.heads * pixels
        elif args.heads > 1:
            saved += one  # the result with the heads joined
        workspace = 6 * one
        if args.feed_forward:
            # Input of the feed-forward, its norm, and both sides of the activation.
            saved += 2 * one + 8 * one + 2 * args.groups * size.frames
            workspace = 9 * one
        return Activations(saved, workspace)

    @classmethod
    def record_text(cls, tape: Tape, tokens: Value, use: Use) -> Value:
        assert use.scene.text_width is not None
        normed = tape.norm(tokens, 2 * use.scene.tokens)
        both = tape.linear(normed, 2 * use.width * use.scene.tokens, use.scene.text_width, 2 * use.width)
        return tape.copy(both)  # with the heads outermost

    @classmethod
    def record(cls, tape: Tape, x: Value, use: Use) -> Value:
        frames, items, heads, width = use.size.frames, use.size.positions, use.args.heads, use.width
        statistics = 2 * use.args.groups * frames
        joined = tape.copy(tape.linear(tape.norm(x, statistics), 3 * width * items, width, 3 * width))
        queries, keys, values = (tape.view(joined, width * items) for _ in range(3))
        h = tape.attend(queries, keys, values, items=items, heads=heads, tokens=use.size.pixels)
        if use.text is not None:
            text = use.text if frames == 1 else tape.copy(use.text, frames * use.text.elements)
            keys, values = (tape.view(text, text.elements // 2) for _ in range(2))
            read = tape.attend(queries, keys, values, items=items, heads=heads, tokens=use.scene.tokens)
            h = tape.add(h, read)
        if heads > 1:
            h = tape.copy(h)  # with the heads joined
        x = tape.add(x, tape.linear(h, width * items, width, width))
        return record_feed_forward(tape, x, width, items, statistics) if use.args.feed_forward else x
