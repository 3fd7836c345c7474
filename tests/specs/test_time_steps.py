"""Stages and graphs in time: names of stages, steps, units, the middle, and inputs that are resampled in time."""

from __future__ import annotations

import pytest

from specs.blocks import Size
from specs.graph import EntryGraph, Node, shapes
from specs.load import expanded_yaml, load_entry, load_mapping, load_spec


def entry(stages: dict, frames: int = 8, resolution: int = 16, **level) -> EntryGraph:
    common = {"head": {"groups": 8}, "defaults": {"resnet": {"groups": 8}, "attention": {"groups": 8}}}
    loaded = load_mapping({"name": "x", "resolution": resolution, "frames": frames, "stages": stages} | common | level)
    assert load_spec(loaded.spec).graph.hash == loaded.graph.hash
    return loaded.graph


def nodes(graph: EntryGraph) -> dict[str, Node]:
    return {node.name: node for node in graph.levels[0].nodes}


def chain(*names: str, **first) -> dict:
    return {name: {"width": 16} | (first if not index else {}) for index, name in enumerate(names)}


@pytest.mark.parametrize(
    ("names", "down", "same"),
    [
        (("r16f8", "r8f4"), None, {"space": 2, "time": 2}),
        (("r16f8", "r4f4"), None, {"space": 4, "time": 2}),
        (("r16f8", "r16f2"), None, {"time": 4}),
        (("r16f8", "r16f2"), None, {"block": "time_down", "factor": 4}),
        (("r16f8", "r8f8"), None, {"space": 2}),
        (("r16f8", "r8f8"), None, 2),
        (("a", "r8f4"), None, {"space": 2, "time": 2}),
        (("a", "b"), None, 2),
        (("a", "r8"), None, 2),
        (("a", "r8"), {"space": 2, "time": 8}, {"time": 8, "space": 2}),
        (("r16", "r16f1"), None, {"time": 8}),
    ],
)
def test_default_step_is_what_leads_to_the_name(names, down, same):
    left_out = entry(chain(*names, **({} if down is None else {"down": down})))
    assert left_out.hash == entry(chain(*names, down=same)).hash


def test_default_factor_gives_way_to_the_name():
    defaults = {"defaults": {"resnet": {"groups": 8}, "attention": {"groups": 8}, "down": {"factor": 4}}}
    assert dict(nodes(entry(chain("r16f8", "r8f8"), **defaults))["r16f8_downsample"].args) == {}
    assert dict(nodes(entry(chain("r16", "r4"), **defaults))["r16_downsample"].args) == {"factor": 4}


def test_step_in_both_writes_two_nodes_and_leaves_one_skip():
    graph = entry(chain("r16f8", "r8f4"))
    found = nodes(graph)
    assert list(found) == [
        "r16f8_down0_resnet",
        "r16f8_downsample",
        "r16f8_time_downsample",
        "r8f4_down0_resnet",
        "middle0_resnet",
        "middle1_attention",
        "middle2_temporal_attention",
        "middle3_resnet",
        "r8f4_up0_resnet",
        "r8f4_up1_resnet",
        "r8f4_time_upsample",
        "r8f4_upsample",
        "r16f8_up0_resnet",
        "r16f8_up1_resnet",
    ]
    assert found["r8f4_up1_resnet"].inputs == ("r8f4_up0_resnet", "r16f8_time_downsample")
    assert [found[name].block for name in ("r16f8_downsample", "r16f8_time_downsample")] == ["down", "time_down"]
    assert [found[name].block for name in ("r8f4_time_upsample", "r8f4_upsample")] == ["time_up", "up"]
    sizes = shapes(graph.levels[0])
    assert sizes["r16f8_downsample"] == (16, Size(8, 8)) and sizes["r16f8_time_downsample"] == (16, Size(8, 4))
    assert sizes["r8f4_time_upsample"] == (16, Size(8, 8)) and sizes["r8f4_upsample"] == (16, Size(16, 8))


def test_step_in_time_alone_keeps_its_name_in_either_form():
    for down in ({"time": 4}, {"block": "time_down", "factor": 4}):
        found = nodes(entry(chain("a", "b", down=down)))
        assert "a_time_downsample" in found and "a_downsample" not in found
        assert dict(found["b_time_upsample"].args) == {"factor": 4}


def test_temporal_follows_the_other_blocks_of_a_unit():
    found = nodes(entry({"r16": {"width": 16, "attention": 1, "temporal": 2}}))
    unit = [name for name in found if name.startswith("r16_down0")]
    assert unit == [
        f"r16_down0_{block}" for block in ("resnet", "attention", "temporal_attention0", "temporal_attention1")
    ]
    written = {"width": 16, "blocks": ["resnet", "attention", "temporal_attention", "temporal_attention"]}
    assert entry({"r16": written}).hash == entry({"r16": {"width": 16, "attention": 1, "temporal": 2}}).hash
    assert entry({"r16": {"width": 16, "temporal": 0}}).hash == entry({"r16": {"width": 16}}).hash


@pytest.mark.parametrize(
    ("names", "middle"),
    [
        (("r16f8", "r16f1"), ["resnet", "attention", "resnet"]),
        (("r16f8", "r16f2"), ["resnet", "attention", "temporal_attention", "resnet"]),
    ],
)
def test_middle(names, middle):
    found = nodes(entry(chain(*names)))
    assert [node.block for name, node in found.items() if name.startswith("middle")] == middle
    assert "middle0_conv" in nodes(entry(chain(*names), middle=["conv"]))


def test_inputs_resampled_in_time():
    graph = {
        "stem": {"width": 16},
        "low": {"block": "resnet", "from": {"time_down": "stem", "factor": 4}},
        "out": {"block": "resnet", "width": 16, "from": ["stem", {"time_up": "low", "factor": 4}], "merge": "add"},
        "head": {"from": {"time_up": "low", "factor": 4}},
    }
    graph["head"] = {"from": "out", "groups": 8}
    common = {"name": "x", "resolution": 16, "frames": 8, "defaults": {"resnet": {"groups": 8}}}
    loaded = load_mapping(common | {"graph": graph})
    assert [node.name for node in loaded.graph.levels[0].nodes] == ["low_time_down", "low", "out_time_up", "out"]
    assert load_mapping(loaded.spec.model_dump(mode="json", by_alias=True, exclude_defaults=True)).graph == loaded.graph
    assert "low_time_down: {block: time_down, width: 16, factor: 4, from: stem}" in expanded_yaml(loaded)


@pytest.mark.parametrize(
    ("base", "change", "result"),
    [
        ({"down": {"block": "time_down", "factor": 4}}, {"down": {"space": 2}}, {"down": {"space": 2}}),
        ({"down": {"space": 2, "time": 2}}, {"down": {"time": 4}}, {"down": {"space": 2, "time": 4}}),
        ({"down": {"space": 2, "time": 2}}, {"down": {"space": None}}, {"down": {"time": 2}}),
        ({"down": {"space": 2, "time": 2}}, {"down": {"block": "down"}}, {"down": 2}),
        ({"down": {"space": 2, "time": 2}}, {"down": 2}, {"down": 2}),
        ({"blocks": ["conv"]}, {"temporal": 1}, {"temporal": 1}),
        ({"temporal": 1, "attention": 1}, {"blocks": ["conv"]}, {"blocks": ["conv"]}),
        ({"temporal": 1}, {"attention": 1}, {"temporal": 1, "attention": 1}),
    ],
)
def test_stages_merged_under_extends(base, change, result, tmp_path):
    common = "resolution: 16\nframes: 8\nhead: {groups: 8}\ndefaults: {resnet: {groups: 8}, attention: {groups: 8}}\n"

    def write(name: str, head: str, stage: dict) -> EntryGraph:
        stages = {"a": {"width": 16} | stage, "b": {"width": 16}}
        (tmp_path / f"{name}.yaml").write_text(f"name: {name}\n{head}stages: {stages}\n".replace("None", "null"))
        return load_entry(name, search=[tmp_path]).graph

    write("base", common, base)
    assert write("changed", "extends: base\n", change).hash == write("written", common, result).hash
