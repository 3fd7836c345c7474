"""What specs mean: references, merging, overrides, hashes, and the explicit form that says the same."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import specs
from builders.networks.nested_unet import build_model
from specs.errors import SpecError, UnknownName
from specs.load import expanded_yaml, list_names, load_entry, load_spec, load_text
from specs.syntax.yaml_tree import parse_text, plain
from tests.helpers.networks import noise, randomise

MODELS = Path(specs.__file__).parent / "models"
FLAT = """
name: flat
resolution: 16
inputs: {classes: 3}
stages:
  r16: {width: 32, depth: 1}
  r8: {width: 64, depth: 1, attention: 1}
"""


def graph(text: str, *overrides: str):
    return load_text(text, overrides=overrides).graph


@pytest.mark.parametrize("name", list_names())
def test_expanded_form_says_the_same(name):
    loaded = load_entry(name)
    again = load_text(expanded_yaml(loaded), "<expanded>")
    assert again.graph == loaded.graph
    assert again.graph.hash == loaded.graph.hash
    assert load_spec(loaded.spec).graph.hash == loaded.graph.hash


@pytest.mark.parametrize("name", ["mdm-micro", "mdm-nano"])
@torch.no_grad()
def test_expanded_form_builds_the_same_network(name):
    loaded = load_entry(name)
    first = randomise(build_model(loaded.graph))
    second = build_model(load_text(expanded_yaml(loaded)).graph).eval()
    second.load_state_dict(first.state_dict())
    z = noise(loaded.graph, 2)
    for a, b in zip(first(z, 300), second(z, 300), strict=True):
        assert a.abs().max() > 0.01
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6)


def test_the_nine_lines():
    lines = [line for line in (MODELS / "mdm-s1024.yaml").read_text().splitlines() if line.strip()]
    assert len(lines) <= 10
    hashes = load_entry("mdm-s1024").graph.graph_hashes
    assert list(hashes) == ["r1024", "r256", "r64"]
    assert hashes["r64"] == load_entry("mdm-s64").graph.graph_hash
    assert hashes["r256"] == load_entry("mdm-s256").graph.graph_hash


def test_editing_an_inner_entry_changes_the_outer_ones(tmp_path):
    for name in ("mdm-s64", "mdm-s256", "mdm-s1024"):
        shutil.copy(MODELS / f"{name}.yaml", tmp_path)
    before = {name: load_entry(tmp_path / f"{name}.yaml").graph for name in ("mdm-s256", "mdm-s1024")}
    assert before["mdm-s1024"].hash == load_entry("mdm-s1024").graph.hash
    inner = tmp_path / "mdm-s64.yaml"
    inner.write_text(inner.read_text().replace("width: 768", "width: 800"))
    for name, graph in before.items():
        after = load_entry(tmp_path / f"{name}.yaml").graph
        assert after.hash != graph.hash
        assert after.graph_hash != graph.graph_hash


def test_the_process_changes_the_hash_alone():
    graphs = [graph(FLAT), graph(FLAT, "process.steps=500"), graph(FLAT, "process={shift: 2, base: 4}")]
    assert len({each.graph_hash for each in graphs}) == 1
    assert len({each.hash for each in graphs}) == 3


def test_writing_a_default_out_changes_nothing():
    written = FLAT + "middle: [resnet, attention, {block: resnet, groups: 32}]\nskip: cat\nprocess: {steps: 1000}\n"
    assert graph(written).hash == graph(FLAT).hash


@pytest.mark.parametrize(
    "change",
    [
        "resolution=32",
        "inputs.classes=4",
        "stages.r8.attention=2",
        "skip=add",
        "normalize_input=true",
        "head.groups=8",
        "time={width: 64}",
        "stages.r16.depth=2",
        "defaults={resnet: {dropout: 0.1}}",
        "stages.r8.width=96",
    ],
)
def test_whatever_changes_the_network_changes_the_graph_hash(change):
    text = FLAT.replace("r16", "a").replace("r8", "b")
    assert graph(text, change.replace("r16", "a").replace("r8", "b")).graph_hash != graph(text).graph_hash


def test_overrides():
    loaded = load_entry("mdm-nano", overrides=["stages.r64.width=24", "nest.nest.stages.r8.attention=2"])
    assert loaded.graph.levels[0].stem_width == 24
    assert any(node.name == "r8_down0_attention1" for node in loaded.graph.levels[2].nodes)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("stages.r46.width=3", "there is no stage 'r46' here; did you mean 'r64'?"),
        ("stages.x.width=3", "there is no stage 'x' here; there are r64, r32"),
        ("stages.r64.widht=3", "stage 'r64' has no field 'widht'; did you mean 'width'?"),
        ("stages.r64", "an override is PATH=VALUE on one line, not 'stages.r64'"),
        ("nest.nest.nest.width=3", "there is no 'nest' here to change"),
        ("stages.r64.width=[", "[syntax]"),
    ],
)
def test_overrides_that_lead_nowhere(override, message):
    with pytest.raises(SpecError) as error:
        load_entry("mdm-nano", overrides=[override])
    assert message in str(error.value)
    assert "<override 1>:1:" in str(error.value)


def test_tags_replace_the_innermost_conditioning():
    tagged, plain_entry = load_entry("mdm-s1024.in1k"), load_entry("mdm-s1024")
    assert tagged.graph.text is None and tagged.graph.classes == 1000
    assert tagged.name == "mdm-s1024.in1k"
    assert [level.micro for level in tagged.graph.levels] == [level.micro for level in plain_entry.graph.levels]
    assert tagged.graph.graph_hash != plain_entry.graph.graph_hash
    with pytest.raises(UnknownName, match="did you mean 'mdm-s64.in1k'"):
        load_entry("mdm-s64.in2k")


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(f"name: {name}\n{text}")
    return path


def test_extends_merges_replaces_and_removes(tmp_path):
    write(tmp_path, "base", FLAT.split("\n", 2)[2] + "defaults: {attention: {feed_forward: true}}\nsummary: base\n")
    child = write(tmp_path, "child", "extends: base\nstages: {r8: {width: 96, attention: null}}\ndefaults: null\n")
    loaded = load_entry(child)
    assert loaded.spec.summary == ""
    assert loaded.spec.stages["r8"].width == 96 and loaded.spec.stages["r8"].depth == 1
    assert loaded.spec.stages["r8"].attention is None and not loaded.spec.defaults
    new = write(
        tmp_path, "new", "extends: base\nstages: {r16: {depth: 2}, half: {width: 64, down: 4}, r2: {width: 64}}\n"
    )
    stages = load_entry(new).spec.stages
    assert list(stages) == ["r16", "half", "r2"] and stages["r16"].width == 32


def test_changing_a_block_drops_its_arguments(tmp_path):
    write(
        tmp_path,
        "base",
        "resolution: 8\ngraph:\n  stem: {width: 32}\n  a: {block: resnet, width: 32, dropout: 0.5, from: stem}\n"
        "  head: {from: a}\n",
    )
    child = write(tmp_path, "child", "extends: base\ngraph: {a: {block: conv}}\n")
    (node,) = load_entry(child).graph.levels[0].nodes
    assert (node.block, node.args, node.inputs) == ("conv", (), ("stem",))


def test_nest_with_changes_and_inline(tmp_path):
    write(tmp_path, "inner", FLAT.split("\n", 2)[2])
    stages = "stages:\n  r32: {width: 32}\n  r16: {width: 32}\n"
    changed = write(
        tmp_path, "outer", f"resolution: 32\nnest: {{extends: inner, stages: {{r8: {{width: 96}}}}}}\n{stages}"
    )
    assert {node.width for node in load_entry(changed).graph.levels[1].nodes} == {32, 96, 64} - {64}
    plain_nest = write(tmp_path, "plain", f"resolution: 32\nnest: inner\n{stages}")
    assert load_entry(plain_nest).graph.graph_hashes["r16"] == load_entry(tmp_path / "inner.yaml").graph.graph_hash


def test_variants(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_PATH", str(tmp_path))
    write(tmp_path, "small", FLAT.split("\n", 2)[2] + "variants:\n  medium: {multiply: {width: 1.4, depth: 2}}\n")
    assert {"small", "medium"} <= set(list_names())
    medium = load_entry("medium")
    assert [(stage.width, stage.depth) for stage in medium.spec.stages.values()] == [(32, 2), (96, 2)]
    assert medium.notes[0] == "medium: width of r16 rounded from 44.8 to 32, a multiple of 32 groups"


def test_graph_sugar_and_order():
    text = """
name: sugar
resolution: 16
graph:
  head: {from: out}
  out: {block: resnet, width: 32, from: [stem, {up: low}], merge: cat}
  low: {block: resnet, width: 64, from: {down: stem}, repeat: 2}
  stem: {width: 32}
"""
    level = graph(text).levels[0]
    assert [node.name for node in level.nodes] == ["low_down", "low_1", "low", "out_up", "out"]
    assert level.nodes[3].inputs == ("low",) and level.nodes[3].width == 64
    reordered = text.replace("  stem: {width: 32}\n", "").replace("graph:\n", "graph:\n  stem: {width: 32}\n")
    assert graph(reordered).hash == graph(text).hash


@pytest.mark.parametrize("mode", ["cat", "add", "none"])
@torch.no_grad()
def test_skips(mode):
    model = randomise(build_model(graph(FLAT, f"skip={mode}")))
    names = {node.name for node in model.graph.levels[0].nodes}
    assert ("r8_up1_skip" in names) == (mode == "add")
    assert model(noise(model.graph, 1), 3)[0].shape == (1, 3, 16, 16)


def test_scalars_follow_yaml_1_2():
    text = "a: 1e-4\nb: no\nc: 2:1\nd: 0o17\ne: 1_000\nf: '1'\ng: ~\nh: True\ni: .5\nj: 2024-01-01\n"
    expected = {
        "a": 1e-4,
        "b": "no",
        "c": "2:1",
        "d": 15,
        "e": "1_000",
        "f": "1",
        "g": None,
        "h": True,
        "i": 0.5,
        "j": "2024-01-01",
    }
    assert plain(parse_text(text)) == expected


stages = st.lists(
    st.fixed_dictionaries(
        {"width": st.sampled_from([8, 16, 24]), "depth": st.integers(0, 2)},
        optional={"attention": st.integers(0, 2), "skip": st.sampled_from(["cat", "add", "none"])},
    ),
    min_size=1,
    max_size=3,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(stages=stages, skip=st.sampled_from(["cat", "add", "none"]), middle=st.sampled_from([None, [], ["attention"]]))
@torch.no_grad()
def test_any_stages_expand_build_and_run(stages, skip, middle):
    import json

    spec = {
        "name": "any",
        "resolution": 8,
        "skip": skip,
        "head": {"groups": 8},
        "defaults": {"resnet": {"groups": 8}, "attention": {"groups": 8}},
        "stages": {f"r{8 >> index}": stage for index, stage in enumerate(stages)},
    } | ({} if middle is None else {"middle": middle})
    loaded = load_text(json.dumps(spec))
    assert load_text(expanded_yaml(loaded)).graph.hash == loaded.graph.hash
    model = build_model(loaded.graph)
    assert model([torch.randn(1, 3, 8, 8)], 3)[0].shape == (1, 3, 8, 8)


@pytest.fixture(scope="module")
def validator():
    jsonschema = pytest.importorskip("jsonschema")
    from specs.load import json_schema

    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("name", [path.stem for path in sorted(MODELS.glob("*.yaml"))])
def test_the_schema_for_editors_accepts_every_entry_and_refuses_typos(name, validator):
    from specs.syntax.yaml_tree import parse

    entry = plain(parse(MODELS / f"{name}.yaml"))
    validator.validate(entry)
    assert not validator.is_valid(entry | {"resolutoin": 64})
