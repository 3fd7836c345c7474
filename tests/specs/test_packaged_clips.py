"""The packaged video entries: what they are, and what they cost by the rules, without importing torch."""

from __future__ import annotations

import pytest

import zoo

#: Name: parameters, GFLOPs of a step, GFLOPs of encoding a prompt.
COSTS = {
    "mdm-s64v": (508_980_486, 1_451.3, 24.7),
    "mdm-s256v": (529_865_225, 5_601.9, 24.7),
}


@pytest.mark.parametrize("name", COSTS)
def test_costs(name):
    card = zoo.get(name).card()
    parameters, step, prompt = COSTS[name]
    assert card.parameters == parameters
    assert card.step_flops / 1e9 == pytest.approx(step, abs=0.05)
    assert (card.flops - card.step_flops) / 1e9 == pytest.approx(prompt, abs=0.05)


def test_levels_inside_are_those_of_other_entries():
    outer, middle, image = (zoo.get(name) for name in ("mdm-s256v", "mdm-s64v", "mdm-s64"))
    assert outer.graph_hashes["r64f16"] == middle.graph_hash
    assert middle.graph_hashes["r64"] == image.graph_hash
    sizes = [[level.size.short for level in zoo.get(name).architecture.levels] for name in ("mdm-s256v", "mdm-nano-v")]
    assert sizes == [
        ["256 px, 16 frames", "64 px, 16 frames", "64 px"],
        ["32 px, 8 frames", "16 px, 8 frames", "16 px"],
    ]


def test_no_entry_needs_a_note():
    assert [zoo.get(name).notes for name in (*COSTS, "mdm-nano-v")] == [(), (), ()]
