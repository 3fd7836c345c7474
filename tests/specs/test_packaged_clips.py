"""The packaged video entries: what they are, and what they cost by the rules, without importing torch."""

from __future__ import annotations

import pytest

import zoo
from specs.errors import SpecError

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


def test_kinds():
    assert {*COSTS, "mdm-nano-v"} <= set(zoo.list(kind="video"))
    assert sorted(zoo.list(kind="video") + zoo.list(kind="image")) == sorted(zoo.list())
    entry = zoo.get("mdm-nano-v")
    assert (entry.resolution, entry.frames) == (32, 8) and "mdm-nano-v: 32 px, 8 frames, levels r32f8" in repr(entry)
    assert entry.graph.nodes["r16f8/r16f4_down0_resnet"]["frames"] == 4


def test_overrides():
    with pytest.raises(SpecError, match="stage 'r64f16' has 64 pixels and 32 frames; call it 'r64f32'"):
        zoo.get("mdm-s64v", ["frames=32"])
    changed = zoo.get("mdm-s256v", ["nest.stages.r64f1.temporal=1"])
    assert changed.labels == zoo.get("mdm-s256v").labels and "at one frame" in changed.notes[0]
    assert changed.graph_hashes["r64"] == zoo.get("mdm-s64").graph_hash


def test_no_entry_needs_a_note():
    assert [zoo.get(name).notes for name in (*COSTS, "mdm-nano-v")] == [(), (), ()]
