"""Memory that activations take, by the blocks' own rules: nothing is built, nothing allocated.

All numbers are bytes for one sample in float32; bfloat16 and float16 take about half. Not counted are weights,
gradients, the optimizer and what a library keeps for itself.
"""

from __future__ import annotations

from dataclasses import dataclass

from specs.blocks import BLOCKS, Scene
from specs.blocks.base import Activations
from specs.graph import EntryGraph, LevelGraph, Node, TextInput, input_channels, shapes

__all__ = ["Memory", "activation_memory"]

BYTES = 4


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of activations of one sample, of the whole entry or of one level without those inside it.

    ``training`` is what is kept for the backward pass; ``checkpointed`` the same if every block keeps its input alone
    and is computed again; ``inference`` the most that is held at once.
    """

    inference: int
    training: int
    checkpointed: int


@dataclass(slots=True)
class _Level:
    """What was counted of one level: elements."""

    saved: int = 0
    inputs: int = 0
    largest: int = 0
    peak: int = 0
    #: Held by the level while the one inside it runs.
    waiting: int = 0


def activation_memory(graph: EntryGraph) -> tuple[Memory, dict[str, Memory]]:
    """Memory of the whole entry, and by level label."""
    text = graph.text
    scene = Scene(graph.time_width, text.inner_width if text else None, text.tokens if text else 0)
    levels: dict[str, _Level] = {}
    for level in graph.levels:
        counted = _count_level(level, scene)
        if level is graph.levels[-1] and text is not None:
            counted.saved += _text(text)
            counted.inputs += _text(text)
        levels[level.label] = counted
    by_label = {
        label: Memory(BYTES * level.peak, BYTES * level.saved, BYTES * (level.inputs + level.largest))
        for label, level in levels.items()
    }
    waiting, peak = 0, 0
    for counted in levels.values():
        peak = max(peak, waiting + counted.peak)
        waiting += counted.waiting
    saved = sum(level.saved for level in levels.values())
    inputs = sum(level.inputs for level in levels.values())
    largest = max(level.largest for level in levels.values())
    return Memory(BYTES * peak, BYTES * saved, BYTES * (inputs + largest)), by_label


def _count_level(level: LevelGraph, scene: Scene) -> _Level:
    sizes = shapes(level)
    elements = {name: width * side**2 for name, (width, side) in sizes.items()}
    channels = {name: width for name, (width, _) in sizes.items()}
    image = level.channels * level.resolution**2
    counted = _Level(saved=image + _time(level, scene), inputs=image + _time(level, scene))
    last_use = {name: index for index, node in enumerate(level.nodes) for name in node.inputs}
    last_use[level.head] = len(level.nodes)
    kept: set[str] = set()
    alive = {"stem"}
    for index, node in enumerate(level.nodes):
        size = input_channels(node, channels) * sizes[node.inputs[0]][1] ** 2
        merged = size if len(node.inputs) > 1 else 0
        rule = _rule(node, input_channels(node, channels), sizes[node.inputs[0]][1], scene)
        if rule.keeps_input and not merged:
            kept.add(node.inputs[0])
        counted.saved += rule.saved + merged * rule.keeps_input
        counted.inputs += merged
        counted.largest = max(counted.largest, rule.saved)
        held = sum(elements[name] for name in alive) + merged
        if merged:
            # The level's code lets go of what it has merged before it calls the block.
            counted.peak = max(counted.peak, held)
            alive = {name for name in alive if last_use.get(name, -1) > index}
            held = sum(elements[name] for name in alive) + merged
        if node.block == "nest":
            counted.waiting = held
        counted.peak = max(counted.peak, held + rule.workspace + elements[node.name])
        alive.add(node.name)
        alive = {name for name in alive if last_use.get(name, -1) > index}
    kept.add(level.head)
    head = 2 * elements[level.head] + 2 * level.head_groups
    counted.saved += sum(elements[name] for name in kept) + head
    direct = {node.inputs[0] for node in level.nodes if len(node.inputs) == 1} | {level.head}
    counted.inputs += sum(elements[name] for name in direct)
    counted.largest = max(counted.largest, head)
    counted.peak = max(counted.peak, sum(elements[name] for name in alive) + 2 * elements[level.head])
    return counted


def _rule(node: Node, in_channels: int, resolution: int, scene: Scene) -> Activations:
    if node.block == "nest":
        # The convolution in keeps its input; the one out reads the inner level's feature map, which its head keeps.
        return Activations(saved=0, workspace=2 * in_channels * resolution**2)
    block = BLOCKS[node.block]
    return block.activations(block.arguments(node.args), in_channels, node.width, resolution, scene)


def _time(level: LevelGraph, scene: Scene) -> int:
    """The embedding's sinusoids, both sides of its two SiLUs; for each micro input sinusoids and one SiLU."""
    width = scene.time_width
    return width // 4 + 4 * width + len(level.micro) * (width // 4 + 2 * width)


def _text(text: TextInput) -> int:
    """What the text's own layers keep: the projection's result and the layers over tokens."""
    width, tokens = text.inner_width, text.tokens
    given = text.tokens * text.width
    # Two norms, queries, keys, values and their result, and both sides of the 4x activation.
    layer = tokens * (2 * 2 * width + 3 * width + 2 * width + 8 * width)
    return given + tokens * width + text.self_attention * layer
