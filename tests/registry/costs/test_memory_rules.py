"""Activation memory of small graphs, tensor by tensor and by brute force; test_memory has what torch allocates."""

from __future__ import annotations

import pytest

from registry.costs.memory import Memory, activation_memory
from specs.blocks import BLOCKS
from specs.graph import EntryGraph, LevelGraph, TextInput, input_channels, shapes
from specs.load import load_entry
from tests.helpers.graphs import node, plain_entry, plain_level, rich_entry

#: Bytes of a float32.
FLOAT = 4
#: Of a time embedding of width 16: sinusoids, and input and output of two SiLUs; and of one micro input, with one SiLU.
TIME, MICRO = 4 + 4 * 16, 4 + 2 * 16


def entry(*levels: LevelGraph, **changes) -> EntryGraph:
    return EntryGraph("entry", levels, time_width=16, **changes)


def test_a_level_of_a_stem_and_a_head():
    """8 x 8 pixels: the image has 3 channels, the stem 4."""
    memory, levels = activation_memory(plain_entry(8))
    image, stem = 3 * 64, 4 * 64
    # The head normalizes and keeps that, the SiLU of it, and mean and deviation of its 2 groups.
    head = 2 * stem + 2 * 2
    assert memory.training == FLOAT * (image + TIME + stem + head)
    assert memory.inference == FLOAT * (stem + 2 * stem)
    # With checkpointing the inputs stay, and the head's own are there when it is computed again.
    assert memory.checkpointed == FLOAT * (image + TIME + stem + head)
    assert levels == {"r8": memory}


def test_a_chain_drops_what_it_has_read():
    level = plain_level(8, node("a", "conv", 8, "stem"), node("b", "conv", 6, "a"), head="b")
    memory, _ = activation_memory(entry(level))
    image, stem, a, b = 3 * 64, 4 * 64, 8 * 64, 6 * 64
    head = 2 * b + 4
    assert memory.training == FLOAT * (image + TIME + stem + a + b + head)
    # At the head: its input, normalized, and the SiLU of it. Before, at most a and b are there at once.
    assert memory.inference == FLOAT * max(stem + a, a + b, 3 * b)
    assert memory.checkpointed == FLOAT * (image + TIME + stem + a + b + head)


def test_a_map_that_is_read_again_stays():
    """The stem waits for the last block while two others run."""
    level = plain_level(
        8,
        node("a", "conv", 32, "stem"),
        node("b", "conv", 4, "a"),
        node("c", "conv", 4, "b", "stem", merge="add"),
        head="c",
    )
    memory, _ = activation_memory(entry(level))
    image, stem, a, b, c = 3 * 64, 4 * 64, 32 * 64, 4 * 64, 4 * 64
    assert memory.inference == FLOAT * (stem + a + b)
    # The sum is saved beside what it was made of; b is not saved, since adding needs none of its sides.
    merged = 4 * 64
    assert memory.training == FLOAT * (image + TIME + stem + a + merged + c + (2 * c + 4))
    assert memory.checkpointed == memory.training


def test_a_merge_holds_both_sides_and_the_result():
    """At the moment of concatenation; then the sides are dropped and the block runs."""
    level = plain_level(
        8,
        node("a", "conv", 20, "stem"),
        node("b", "conv", 30, "a"),
        node("c", "conv", 5, "a", "b", merge="cat"),
        head="c",
    )
    memory, _ = activation_memory(entry(level))
    assert memory.inference == FLOAT * 64 * (20 + 30 + 50)
    level = plain_level(
        8,
        node("a", "conv", 20, "stem"),
        node("b", "conv", 30, "a"),
        node("c", "conv", 60, "a", "b", merge="cat"),
        head="c",
        head_groups=1,
    )
    memory, _ = activation_memory(entry(level))
    # Concatenated (50) and output (60), then the head: 60, normalized, SiLU.
    assert memory.inference == FLOAT * 64 * 180
    image, stem, a, merged, c = 3 * 64, 4 * 64, 20 * 64, 50 * 64, 60 * 64
    assert memory.training == FLOAT * (image + TIME + stem + a + merged + c + 2 * c + 2)


def test_upsampling_saves_the_repeated_input_and_not_its_own():
    level = plain_level(8, node("d", "down", 8, "stem"), node("u", "up", 4, "d"), head="u")
    memory, _ = activation_memory(entry(level))
    image, stem, repeated, u = 3 * 64, 4 * 64, 8 * 64, 4 * 64
    d = 8 * 16
    assert memory.training == FLOAT * (image + TIME + stem + repeated + u + (2 * u + 4))
    assert memory.inference == FLOAT * (d + repeated + u)
    # Checkpointing keeps the small input instead, and repeats it again.
    assert memory.checkpointed == FLOAT * (image + TIME + stem + d + u + max(repeated, 2 * u + 4))


def test_checkpointing_computes_the_largest_block_again():
    level = plain_level(8, node("a", "resnet", 4, "stem", groups=2), head="a")
    memory, _ = activation_memory(entry(level))
    block = 64 * (2 * 4 + 4 * 4) + 4 + 2 * (2 + 2)
    image, stem, a = 3 * 64, 4 * 64, 4 * 64
    assert memory.training == FLOAT * (image + TIME + stem + a + block + (2 * a + 4))
    assert memory.checkpointed == FLOAT * (image + TIME + stem + a + block)
    assert memory.largest == FLOAT * block


def test_an_inner_level_runs_while_the_outer_waits():
    outer = plain_level(
        8,
        node("a", "conv", 5, "stem"),
        node("d", "down", 7, "a"),
        node("nest", "nest", 7, "d"),
        node("u", "up", 5, "nest"),
        node("b", "conv", 5, "u", "a", merge="add"),
        head="b",
    )
    inner = plain_level(4, node("c", "conv", 400, "stem"), node("e", "conv", 4, "c"), head="e", channels=2)
    memory, levels = activation_memory(entry(outer, inner))
    a, d = 5 * 64, 7 * 16
    peak = FLOAT * 16 * (4 + 400)
    assert levels["r4"].inference == peak
    # What u will read is not there yet; a and the input of the nest are.
    assert memory.inference == FLOAT * (a + d) + peak
    # The outer level by itself: both convolutions of the nest beside its own output; u and its repeated input.
    assert levels["r8"].inference == FLOAT * max(a + d + 2 * d + d, a + d + 7 * 64 + 5 * 64)
    assert memory.training == levels["r8"].training + levels["r4"].training
    head = 2 * 5 * 64 + 4
    stem, image = 4 * 64, 3 * 64
    # a is not saved twice; the nest saves its input, and no map of its own.
    assert levels["r8"].training == FLOAT * (image + TIME + stem + a + d + 7 * 64 + 5 * 64 + 5 * 64 + head)


def test_the_convolutions_around_an_inner_level_hold_their_outputs():
    outer = plain_level(8, node("nest", "nest", 10, "stem"), node("a", "conv", 2, "nest"), head="a", stem_width=10)
    levels = activation_memory(entry(outer, plain_level(8, label="inner")))[1]
    # The stem, both convolutions, and the sum.
    assert levels["r8"].inference == FLOAT * 64 * (10 + 2 * 10 + 10)


def test_all_outer_levels_wait():
    """Each with its stem alone, which its last block adds."""
    levels = [
        plain_level(
            side, node("d", "down", 4, "stem"), node("nest", "nest", 4, "d"), node("u", "up", 4, "nest"),
            node("a", "conv", 4, "u", "stem", merge="add"), head="a",
        )
        for side in (16, 8)
    ]  # fmt: skip
    memory, by_level = activation_memory(entry(*levels, plain_level(4, node("a", "conv", 900, "stem"), head="a")))
    waiting = [FLOAT * 4 * (side**2 + (side // 2) ** 2) for side in (16, 8)]
    assert memory.inference == sum(waiting) + by_level["r4"].inference
    for found in (memory, *by_level.values()):
        assert {type(value) for value in (found.inference, found.training, found.checkpointed)} == {int}


def test_an_entry_checkpoints_every_level_and_computes_one_block_again():
    memory, levels = activation_memory(rich_entry())
    inputs = [level.checkpointed for level in levels.values()]
    largest = [largest_block(level, rich_entry()) for level in rich_entry().levels]
    assert memory.checkpointed == sum(inputs) - FLOAT * (sum(largest) - max(largest))


def largest_block(level: LevelGraph, graph: EntryGraph) -> int:
    sizes, channels = shapes(level), {name: width for name, (width, _) in shapes(level).items()}
    saved = [2 * sizes[level.head][0] * sizes[level.head][1].positions + 2 * level.head_groups]
    for each in level.nodes:
        if each.block != "nest":
            block = BLOCKS[each.block]
            args = block.arguments(each.args)
            size = sizes[each.inputs[0]][1]
            saved.append(block.activations(args, input_channels(each, channels), each.width, size, graph.scene).saved)
    return max(saved)


def brute_force(level: LevelGraph, graph: EntryGraph) -> int:
    """Return the peak of a level by listing, at each step, the maps that are still to be read."""
    sizes = shapes(level)
    elements = {name: width * size.positions for name, (width, size) in sizes.items()}
    channels = {name: width for name, (width, _) in sizes.items()}
    reads = [list(each.inputs) for each in level.nodes] + [[level.head]]
    made = ["stem", *(each.name for each in level.nodes)]
    moments = []
    for index, each in enumerate(level.nodes):
        there = made[: index + 1]
        needed = {name for name in there if any(name in names for names in reads[index:])}
        later = {name for name in there if any(name in names for names in reads[index + 1 :])}
        width, size = input_channels(each, channels), sizes[each.inputs[0]][1]
        if each.block == "nest":
            workspace = 2 * width * size.positions
        else:
            block = BLOCKS[each.block]
            workspace = block.activations(block.arguments(each.args), width, each.width, size, graph.scene).workspace
        output = elements[each.name]
        if len(each.inputs) > 1:
            merged = width * size.positions
            moments.append(sum(elements[name] for name in needed) + merged)
            moments.append(sum(elements[name] for name in later) + merged + workspace + output)
        else:
            moments.append(sum(elements[name] for name in needed) + workspace + output)
    moments.append(elements[level.head] * 3)
    return max(moments)


@pytest.mark.parametrize("name", [None, "mdm-micro", "mdm-nano", "mdm-s256", "unetpp-s64", "triple-n32"])
def test_peaks_of_levels_by_brute_force(name):
    graph = rich_entry() if name is None else load_entry(name).graph
    _, levels = activation_memory(graph)
    assert {level.label: FLOAT * brute_force(level, graph) for level in graph.levels} == {
        label: memory.inference for label, memory in levels.items()
    }


def test_embeddings_and_text_are_saved_once():
    plain, _ = activation_memory(plain_entry(8))
    base = rich_entry(text=None, classes=None)
    outer, inner = activation_memory(base)[1].values()
    graph = rich_entry(classes=None, text=TextInput(7, tokens=5, project=3))
    text = 5 * 7 + 5 * 3
    attention = 5 * (3 + 2 * 8 + 2) + 8 * 16 + 2 * 16
    levels = activation_memory(graph)[1]
    assert levels["r8"] == outer
    assert levels["r4"].training == inner.training + FLOAT * (text + attention)
    # Per token: two norms with input and output, queries, keys and values, results in two layouts, 4x twice.
    layer = 5 * (4 * 3 + 3 * 3 + 2 * 3 + 2 * 4 * 3)
    deeper = activation_memory(rich_entry(classes=None, text=TextInput(7, tokens=5, project=3, self_attention=2)))[1]
    assert deeper["r4"].training == levels["r4"].training + FLOAT * 2 * layer
    assert deeper["r4"].checkpointed == levels["r4"].checkpointed + FLOAT * 2 * layer
    assert deeper["r4"].inference == levels["r4"].inference
    # A class's row of the table is a weight.
    assert activation_memory(rich_entry(text=None))[0] == activation_memory(base)[0]
    assert plain.training > FLOAT * TIME


def test_micro_inputs_are_saved_by_their_level():
    from dataclasses import replace

    with_two = rich_entry(text=None)
    outer, inner = with_two.levels
    without = replace(with_two, levels=(replace(outer, micro=()), inner))
    before, after = activation_memory(without)[1], activation_memory(with_two)[1]
    assert after["r8"].training == before["r8"].training + FLOAT * 2 * MICRO
    assert after["r8"].checkpointed == before["r8"].checkpointed + FLOAT * 2 * MICRO
    assert after["r4"] == before["r4"]


def test_the_largest_level_decides_the_peak():
    """Where the outer level alone holds more than it and the inner one together, its own peak counts."""
    outer = plain_level(8, node("a", "conv", 90, "stem"), node("d", "down", 4, "a"), node("nest", "nest", 4, "d"),
                        node("u", "up", 4, "nest"), head="u")  # fmt: skip
    memory, levels = activation_memory(entry(outer, plain_level(4)))
    assert memory.inference == levels["r8"].inference == FLOAT * (90 * 64 + 4 * 64)
    assert memory.inference > levels["r4"].inference
    assert isinstance(memory, Memory)
