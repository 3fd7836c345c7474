"""Parameters and multiply-adds of an entry, by its blocks' own rules: nothing is built, nothing allocated.

One MAC is one multiply-add; FLOPs are two per MAC. As in ``torch.utils.flop_counter``, convolutions, matrix products
and attention (scores and weighted sums) are counted; norms, activations, softmax and sums are not. All numbers are for
one sample with as many text tokens as the entry declares.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from specs.blocks import BLOCKS, Costs, Scene, Size
from specs.blocks.base import convolution, linear, norm
from specs.graph import EntryGraph, LevelGraph, Node, TextInput, input_channels, shapes

__all__ = ["EntryCosts", "LevelCosts", "Part", "count"]


@dataclass(frozen=True, slots=True)
class Part:
    """Costs of one part of a level: a node of its graph, or a part that every level has.

    Attributes:
        name: Name of the node, or of the part: ``time``, ``stem``, ``head``, ...
        block: Kind of block, or the part's name.
        width: Channels of its output.
        size: Size of its output; None for parts that see no pixels.
        costs: Parameters and multiply-adds.
    """

    name: str
    block: str
    width: int
    size: Size | None
    costs: Costs


@dataclass(frozen=True)
class LevelCosts:
    """Costs of one level without its inner levels. The entry's inputs count with the innermost level."""

    label: str
    size: Size
    parts: tuple[Part, ...]

    @property
    def resolution(self) -> int:
        """Side of the level's images in pixels."""
        return self.size.side

    @cached_property
    def total(self) -> Costs:
        """The sum over all parts."""
        return sum((part.costs for part in self.parts), start=Costs())


@dataclass(frozen=True)
class EntryCosts:
    """Costs of an entry, outermost level first."""

    levels: tuple[LevelCosts, ...]

    @cached_property
    def total(self) -> Costs:
        """The sum over all levels: one forward pass and one encoding of the prompt."""
        return sum((level.total for level in self.levels), start=Costs())


def count(graph: EntryGraph) -> EntryCosts:
    """Return the costs of a checked entry, by level and part.

    Args:
        graph: Checked graph of the entry.
    """
    levels = []
    for index, level in enumerate(graph.levels):
        inner = graph.levels[index + 1] if index + 1 < len(graph.levels) else None
        parts = [*_own_parts(level, graph.time_width), *_node_parts(level, graph.scene, inner)]
        if inner is None:
            parts = [*_input_parts(graph), *parts]
        levels.append(LevelCosts(level.label, level.size, tuple(parts)))
    return EntryCosts(tuple(levels))


def node_inputs(level: LevelGraph) -> Iterator[tuple[Node, int, Size]]:
    """Return every node of a level with its input's channels, after merging, and size."""
    sizes = shapes(level)
    channels = {name: width for name, (width, _) in sizes.items()}
    for node in level.nodes:
        yield node, input_channels(node, channels), sizes[node.inputs[0]][1]


def _once(costs: Costs) -> Costs:
    """Return the same costs, with the multiply-adds done once per prompt instead of at every step."""
    return Costs(parameters=costs.parameters, encode_macs=costs.macs + costs.encode_macs)


def _input_parts(graph: EntryGraph) -> Iterator[Part]:
    if graph.text is not None:
        yield Part("text", "text", graph.text.inner_width, None, _text(graph.text, graph.time_width))
    if graph.classes is not None:
        table = Costs(parameters=(graph.classes + 1) * graph.time_width)
        yield Part("classes", "classes", graph.time_width, None, table)


def _text(text: TextInput, time_width: int) -> Costs:
    width, tokens = text.inner_width, text.tokens
    total = linear(text.width, width, rows=tokens) if text.project else Costs()
    layer = norm(width) + linear(width, 3 * width, rows=tokens) + linear(width, width, rows=tokens)
    layer += Costs(macs=2 * tokens * tokens * width)
    layer += norm(width) + linear(width, 4 * width, rows=tokens) + linear(4 * width, width, rows=tokens)
    for _ in range(text.self_attention):
        total += layer
    if text.pool:
        total += linear(width, time_width, bias=False)
    return _once(total)


def _own_parts(level: LevelGraph, time_width: int) -> Iterator[Part]:
    """Return the parts of a level besides its nodes: embeddings of time and micro inputs, stem, head."""
    embedding = linear(time_width // 4, time_width) + linear(time_width, time_width)
    yield Part("time", "time", time_width, None, embedding)
    for micro in level.micro:
        yield Part(f"micro_{micro.name}", "micro", time_width, None, _once(embedding))
    positions = level.size.positions
    stem = convolution(level.channels, level.stem_width, 3, positions)
    yield Part("stem", "stem", level.stem_width, level.size, stem)
    width = level.feature_width
    head = norm(width) + convolution(width, level.channels, 3, positions)
    yield Part("head", "head", level.channels, level.size, head)


def _node_parts(level: LevelGraph, scene: Scene, inner: LevelGraph | None) -> Iterator[Part]:
    sizes = shapes(level)
    for node, in_channels, size in node_inputs(level):
        if node.block == "nest":
            assert inner is not None
            costs = _nest(in_channels, size, inner)
        else:
            block = BLOCKS[node.block]
            costs = block.costs(block.arguments(node.args), in_channels, node.width, size, scene)
        yield Part(node.name, node.block, node.width, sizes[node.name][1], costs)


def _nest(width: int, size: Size, inner: LevelGraph) -> Costs:
    enter = convolution(width, inner.stem_width, 3, size.positions)
    return enter + convolution(inner.feature_width, width, 3, size.positions)
