"""Random video entries: they expand, their sizes fit, and they load to the same hash in every form."""

from __future__ import annotations

from typing import Any

import jsonschema
from hypothesis import given, settings
from hypothesis import strategies as st

from specs.blocks import BLOCKS, Size
from specs.graph import EntryGraph, input_channels, shapes
from specs.load import expanded_yaml, json_schema, load_mapping, load_spec, load_text

Spec = dict[str, Any]
SCHEMA = jsonschema.Draft202012Validator(json_schema("entry"))
COMMON: Spec = {
    "head": {"groups": 4},
    "defaults": {
        "resnet": {"groups": 4},
        "attention": {"groups": 4, "heads": 4},
        "temporal_attention": {"heads": 4},
        "temporal_conv": {"groups": 4},
    },
}


@st.composite
def stages(draw: st.DrawFn, size: Size, steps: list[tuple[int, int]]) -> Spec:
    """Stages from a size inwards, which leave ``down`` out where the names of the stages lead to it."""
    result: Spec = {}
    named = draw(st.booleans())
    for index, (space, time) in enumerate([*steps, (1, 1)]):
        stage: Spec = {"width": draw(st.sampled_from((8, 16))), "depth": draw(st.integers(0, 2))}
        temporal = size.frames > 1 and draw(st.booleans())
        if temporal and draw(st.booleans()):
            stage["blocks"] = ["resnet", "temporal_conv"]
        elif temporal:
            stage["temporal"] = draw(st.integers(1, 2))
        if (space, time) != (1, 1) and not named:
            stage["down"] = {key: by for key, by in (("space", space), ("time", time)) if by > 1}
        result[f"r{size.side}f{size.frames}" if named else f"stage{index}"] = stage
        size = Size(size.side // space, size.frames // time)
    return result


STEP = st.sampled_from([(2, 1), (1, 2), (2, 2), (1, 4), (3, 1), (1, 3), (2, 4)])


@st.composite
def entries(draw: st.DrawFn) -> Spec:
    """Entries of one to three levels, nested in space, in time or in both."""
    size = Size(draw(st.sampled_from((4, 8))), draw(st.sampled_from((1, 2, 4))))
    steps = [step for step in draw(st.lists(STEP, max_size=2)) if not (size.side % step[0] or size.frames % step[1])]
    steps = steps[:1]
    level: Spec = {"resolution": size.side, "frames": size.frames, "stages": draw(stages(size, steps))} | COMMON
    for _ in range(draw(st.integers(0, 2))):
        steps = draw(st.lists(STEP, min_size=1, max_size=2))
        for space, time in steps:
            size = Size(size.side * space, size.frames * time)
        level = {"resolution": size.side, "stages": draw(stages(size, steps)), "nest": level} | COMMON
        if size.frames > 1 or draw(st.booleans()):
            level["frames"] = size.frames
    return {"name": "x"} | level


def check_sizes(graph: EntryGraph) -> None:
    for level, inner in zip(graph.levels, (*graph.levels[1:], None), strict=True):
        found = shapes(level)
        channels = {name: width for name, (width, _) in found.items()}
        assert found["stem"][1] == level.size == found[level.head][1]
        for node in level.nodes:
            sizes = {found[name][1] for name in node.inputs}
            assert len(sizes) == 1
            if node.block == "nest":
                assert inner is not None and sizes == {inner.size} == {found["nest"][1]}
                continue
            block = BLOCKS[node.block]
            args = block.arguments(node.args)
            size = sizes.pop()
            assert block.output_size(args, size) == found[node.name][1]
            assert block.check(args, input_channels(node, channels), node.width, size) == []
            assert not block.temporal or level.frames > 1


@settings(max_examples=6, deadline=None)
@given(entries())
def test_the_schema_accepts_random_entries(spec):
    SCHEMA.validate(spec)


@settings(max_examples=25, deadline=None)
@given(entries())
def test_random_entries(spec):
    loaded = load_mapping(spec)
    graph = loaded.graph
    assert graph.labels == tuple(level.size.label for level in graph.levels)
    assert len(set(graph.labels)) == len(graph.labels)
    check_sizes(graph)
    assert load_text(expanded_yaml(graph)).graph == graph
    assert load_spec(loaded.spec).graph == graph
    for label in graph.labels[1:]:
        assert graph.inner(label).graph_hash == graph.graph_hashes[label]
