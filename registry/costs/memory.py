"""Activation memory, by the blocks' own rules: nothing is built, nothing allocated.

All results are bytes for one sample in float32. Under autocast, what is saved depends on the device, which
:mod:`registry.costs.steps` counts. Weights, gradients, optimizer state and the workspace of libraries such as cuDNN are
not counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from registry.costs.totals import node_inputs
from specs.blocks import BLOCKS, Scene
from specs.blocks.base import Activations
from specs.graph import EntryGraph, LevelGraph, Node, TextInput, shapes

__all__ = ["Memory", "activation_memory"]

#: Bytes of one element in float32.
BYTES = 4


@dataclass(frozen=True, slots=True)
class Memory:
    """Activation memory of one sample in bytes, of a whole entry or of one level without its inner levels.

    Attributes:
        inference: Peak memory of a forward pass without gradients.
        training: Activations saved for the backward pass.
        checkpointed: The same with activation checkpointing of every block: the inputs of all blocks, and what the
            largest block saves while it is recomputed.
        largest: What the largest block saves.
    """

    inference: int
    training: int
    checkpointed: int
    largest: int


class _Level(NamedTuple):
    """Counts of one level, in elements per sample."""

    #: Saved for the backward pass.
    saved: int
    #: Inputs of the level and of its blocks, which activation checkpointing saves.
    inputs: int
    #: Saved by the block that saves most.
    largest: int
    #: Alive at once in inference, at most.
    peak: int
    #: Alive in this level while its inner level runs.
    waiting: int


class _Step(NamedTuple):
    """One block of a level as it runs."""

    node: Node
    rule: Activations
    #: Elements of the input that is made by merging feature maps; 0 if the block reads one map directly.
    merged: int


class _Liveness:
    """The feature maps of a level that are alive at one point of a forward pass.

    Args:
        level: Level whose nodes run in order.
        elements: Elements of each feature map, by name.
    """

    def __init__(self, level: LevelGraph, elements: dict[str, int]) -> None:
        self._elements = elements
        self._last_use = {name: index for index, node in enumerate(level.nodes) for name in node.inputs}
        self._last_use[level.head] = len(level.nodes)
        self._alive = {"stem"}

    @property
    def size(self) -> int:
        """Elements of all feature maps that are alive."""
        return sum(self._elements[name] for name in self._alive)

    def add(self, name: str) -> None:
        """Add the output of a node."""
        self._alive.add(name)

    def release(self, index: int) -> None:
        """Drop the feature maps that no node after number ``index`` reads."""
        self._alive = {name for name in self._alive if self._last_use[name] > index}


def activation_memory(graph: EntryGraph) -> tuple[Memory, dict[str, Memory]]:
    """Return the memory of the whole entry, and of each level by its label."""
    levels = {}
    for level in graph.levels:
        # Embeddings and text belong to no block: they are saved with and without checkpointing.
        fixed = level.channels * level.size.positions + _embeddings(level, graph.time_width)
        if graph.text is not None and level is graph.levels[-1]:
            fixed += _text(graph.text)
        levels[level.label] = _count_level(level, graph.scene, fixed)
    peak = waiting = 0
    for counted in levels.values():
        peak = max(peak, waiting + counted.peak)
        waiting += counted.waiting
    return _memory(peak, levels.values()), {label: _memory(each.peak, [each]) for label, each in levels.items()}


def _memory(peak: int, levels: Iterable[_Level]) -> Memory:
    saved, inputs, largest, *_ = zip(*levels, strict=True)
    return Memory(BYTES * peak, BYTES * sum(saved), BYTES * (sum(inputs) + max(largest)), BYTES * max(largest))


def _count_level(level: LevelGraph, scene: Scene, fixed: int) -> _Level:
    """Count one level in three passes: saved tensors, block inputs, peak of inference.

    Args:
        level: Level to count, without its inner levels.
        scene: Widths and tokens that the blocks' rules need.
        fixed: Elements that the level saves outside its blocks, such as its input image.
    """
    elements = {name: width * size.positions for name, (width, size) in shapes(level).items()}
    steps = _steps(level, scene)
    # The head saves its normalized input and the SiLU of it, and the mean and deviation of every group of a frame.
    head = 2 * elements[level.head] + 2 * level.head_groups * level.frames
    peak, waiting = _inference(level, steps, elements)
    return _Level(
        saved=fixed + head + _saved(level, steps, elements),
        inputs=fixed + _inputs(level, steps, elements),
        largest=max([head, *(step.rule.saved for step in steps)]),
        peak=peak,
        waiting=waiting,
    )


def _steps(level: LevelGraph, scene: Scene) -> list[_Step]:
    """Return the blocks in the order in which they run."""
    steps = []
    for node, in_channels, size in node_inputs(level):
        if node.block == "nest":
            # The convolution into the inner level saves its input; the one out of it reads the inner level's feature
            # map, which the inner head saves.
            rule = Activations(workspace=2 * in_channels * size.positions)
        else:
            block = BLOCKS[node.block]
            rule = block.activations(block.arguments(node.args), in_channels, node.width, size, scene)
        steps.append(_Step(node, rule, in_channels * size.positions if len(node.inputs) > 1 else 0))
    return steps


def _saved(level: LevelGraph, steps: Sequence[_Step], elements: dict[str, int]) -> int:
    """Return the elements that blocks save for the backward pass; a feature map that several read is saved once."""
    maps = {step.node.inputs[0] for step in steps if step.rule.keeps_input and not step.merged} | {level.head}
    own = sum(step.rule.saved + step.rule.keeps_input * step.merged for step in steps)
    return own + sum(elements[name] for name in maps)


def _inputs(level: LevelGraph, steps: Sequence[_Step], elements: dict[str, int]) -> int:
    """Return the elements of all block inputs; a feature map that several read counts once."""
    maps = {step.node.inputs[0] for step in steps if not step.merged} | {level.head}
    return sum(step.merged for step in steps) + sum(elements[name] for name in maps)


def _inference(level: LevelGraph, steps: Sequence[_Step], elements: dict[str, int]) -> tuple[int, int]:
    """Return the peak of a forward pass without gradients, and what is alive while the inner level runs."""
    alive = _Liveness(level, elements)
    peak = waiting = 0
    for index, step in enumerate(steps):
        if step.merged:
            # The network's code drops the maps that it has merged before it calls the block.
            peak = max(peak, alive.size + step.merged)
            alive.release(index)
        held = alive.size + step.merged
        if step.node.block == "nest":
            waiting = held
        peak = max(peak, held + step.rule.workspace + elements[step.node.name])
        alive.add(step.node.name)
        alive.release(index)
    # The head holds its normalized input and the SiLU of it.
    return max(peak, alive.size + 2 * elements[level.head]), waiting


def _embeddings(level: LevelGraph, width: int) -> int:
    """Return the elements saved by the embeddings of time and micro inputs.

    Time: sinusoids (width / 4), input and output of two SiLUs. Each micro input: sinusoids, input and output of one.
    """
    return width // 4 + 4 * width + len(level.micro) * (width // 4 + 2 * width)


def _text(text: TextInput) -> int:
    """Return the elements saved by the text projection and the layers over tokens."""
    width, tokens = text.inner_width, text.tokens
    # Inputs and outputs of two norms; queries, keys, values; attention output in two layouts; input and output of the
    # activation, four times as wide.
    layer = tokens * (2 * 2 * width + 3 * width + 2 * width + 8 * width)
    return tokens * text.width + tokens * width + text.self_attention * layer
