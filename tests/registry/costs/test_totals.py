"""Costs of an entry, part by part, against sums written out by hand; test_costs has torch's counts."""

from __future__ import annotations

from registry.costs.totals import EntryCosts, LevelCosts, Part, _once, count
from specs.blocks import Costs, Size
from specs.graph import EntryGraph, TextInput
from tests.helpers.graphs import node, plain_entry, plain_level, rich_entry


def conv(width, out, kernel, side):
    """Weights and biases of a convolution, and a multiply-add of each weight at each of side x side pixels."""
    return Costs(width * out * kernel**2 + out, width * out * kernel**2 * side**2)


#: Sinusoids of a quarter of the time's width through Linear(4, 16) and Linear(16, 16).
EMBEDDING = (4 * 16 + 16) + (16 * 16 + 16)
EMBEDDING_MACS = 4 * 16 + 16 * 16


def of(part: Part) -> tuple:
    return part.name, part.block, part.width, part.size and part.size.side


def test_parts_of_an_outer_level():
    outer = count(rich_entry()).levels[0]
    assert (outer.label, outer.resolution) == ("r8", 8)
    assert [of(part) for part in outer.parts] == [
        ("time", "time", 16, None),
        ("micro_scale", "micro", 16, None),
        ("micro_crop", "micro", 16, None),
        ("stem", "stem", 4, 8),
        ("head", "head", 3, 8),
        ("a", "conv", 6, 8),
        ("d", "down", 10, 4),
        ("nest", "nest", 10, 4),
        ("u", "up", 6, 8),
        ("b", "conv", 12, 8),
    ]
    costs = {part.name: part.costs for part in outer.parts}
    assert costs == {
        "time": Costs(EMBEDDING, EMBEDDING_MACS),
        # What a micro input is does not change from step to step.
        "micro_scale": Costs(EMBEDDING, 0, EMBEDDING_MACS),
        "micro_crop": Costs(EMBEDDING, 0, EMBEDDING_MACS),
        "stem": conv(3, 4, 3, 8),
        "head": Costs(2 * 12) + conv(12, 3, 3, 8),
        "a": conv(4, 6, 1, 8),
        "d": conv(6, 10, 3, 4),
        # Into the inner level's stem, and from its feature map back.
        "nest": conv(10, 6, 3, 4) + conv(8, 10, 3, 4),
        "u": conv(10, 6, 3, 8),
        "b": conv(6 + 6, 12, 3, 8),
    }
    assert outer.total == sum(costs.values(), start=Costs())


def test_parts_of_the_innermost_level():
    inner = count(rich_entry()).levels[1]
    assert [of(part) for part in inner.parts] == [
        ("text", "text", 3, None),
        ("classes", "classes", 16, None),
        ("time", "time", 16, None),
        ("micro_scale", "micro", 16, None),
        ("stem", "stem", 6, 4),
        ("head", "head", 2, 4),
        ("r", "resnet", 8, 4),
        ("t", "attention", 8, 4),
        ("s", "conv", 8, 4),
    ]
    costs = {part.name: part.costs for part in inner.parts}
    # One more row of the table than there are classes: for none.
    assert costs["classes"] == Costs(10 * 16)
    assert costs["stem"] == conv(2, 6, 3, 4) and costs["head"] == Costs(16) + conv(8, 2, 3, 4)
    # Summed inputs are as wide as one of them.
    assert costs["s"] == conv(8, 8, 3, 4)
    # The scene reaches the blocks: the time's width of 16; tokens of width 3, 5 of them.
    assert costs["r"] == Costs(12 + 16 + 16 * 16 + 16, 16 * 16) + conv(6, 8, 3, 4) + conv(8, 8, 3, 4) + conv(6, 8, 1, 4)
    assert costs["t"].encode_macs == 5 * 3 * 16
    assert costs["t"].macs == 16 * (3 + 1) * 8 * 8 + 2 * 16 * 16 * 8 + 2 * 16 * 5 * 8


def text_costs(text: TextInput) -> Costs:
    (part,) = (part for part in count(plain_entry(8, text=text)).levels[0].parts if part.name == "text")
    assert part.costs.macs == 0
    return part.costs


def test_text_is_encoded_once():
    project = (7 * 3 + 3, 5 * 7 * 3)
    pool = (3 * 16, 3 * 16)
    # Two norms; queries, keys, values and result; 4x wide and back; scores and sums of 5 x 5 tokens.
    layer = (2 * 6 + (3 * 9 + 9) + (3 * 3 + 3) + (3 * 12 + 12) + (12 * 3 + 3), 5 * (9 * 3 + 9 + 36 + 36) + 2 * 25 * 3)
    for text, counted in (
        (TextInput(7, 5, project=3), [project, pool]),
        (TextInput(7, 5, project=3, pool=False), [project]),
        (TextInput(3, 5), [pool]),
        (TextInput(3, 5, pool=False), []),
        (TextInput(7, 5, project=3, self_attention=1), [project, layer, pool]),
        (TextInput(3, 5, self_attention=3, pool=False), 3 * [layer]),
    ):
        costs = text_costs(text)
        assert costs == Costs(sum(part[0] for part in counted), 0, sum(part[1] for part in counted))


def test_inputs_that_an_entry_lacks_cost_nothing():
    names = [part.name for part in count(plain_entry(8, 4)).levels[1].parts]
    assert names == ["time", "stem", "head"]
    assert [part.name for part in count(rich_entry(classes=None)).levels[1].parts][:2] == ["text", "time"]


def test_a_level_without_blocks_reads_its_stem():
    (level,) = count(plain_entry(8)).levels
    assert level.parts[-1].costs == Costs(2 * 4) + conv(4, 3, 3, 8)


def test_three_levels_nest_each_in_the_next():
    def nesting(side, stem_width):
        return plain_level(side, node("nest", "nest", stem_width, "stem"), head="nest", stem_width=stem_width)

    graph = EntryGraph("three", (nesting(8, 4), nesting(6, 10), plain_level(2, stem_width=22)), time_width=16)
    levels = count(graph).levels
    assert [(level.label, level.resolution) for level in levels] == [("r8", 8), ("r6", 6), ("r2", 2)]
    nests = [level.parts[-1].costs for level in levels]
    assert nests[:2] == [conv(4, 10, 3, 8) + conv(10, 4, 3, 8), conv(10, 22, 3, 6) + conv(22, 10, 3, 6)]


def test_what_is_paid_once_is_paid_once():
    assert _once(Costs(1, 20, 300)) == Costs(1, 0, 320)


def test_costs_are_whole_numbers():
    for level in count(rich_entry()).levels:
        for part in level.parts:
            assert {type(value) for value in (part.costs.parameters, part.costs.macs, part.costs.encode_macs)} == {int}


def test_totals_are_sums():
    parts = tuple(
        Part(str(number), "conv", 1, Size(1), Costs(number, 10 * number, 100 * number)) for number in range(4)
    )
    level = LevelCosts("r1", Size(1), parts)
    assert level.total == Costs(6, 60, 600)
    levels = (level, LevelCosts("r2", Size(2), parts[:2]), LevelCosts("r3", Size(3), ()))
    assert EntryCosts(levels).total == Costs(7, 70, 700)
