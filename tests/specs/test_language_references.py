"""References between files: where they are looked up, what they change, and that they always end."""

from __future__ import annotations

from pathlib import Path

import pytest

from specs.errors import SpecError
from specs.load import load_entry, load_text

BODY = "resolution: 16\nstages:\n  r16: {width: 32}\n  r8: {width: 64}\n"
OUTER = "resolution: 32\nstages:\n  r32: {width: 32}\n  r16: {width: 32}\n"
GRAPH = """resolution: 16
graph:
  stem: {width: 32}
  a: {block: resnet, width: 48, from: stem}
  head: {from: a}
head: {groups: 16}
defaults: {resnet: {groups: 16}}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty folder, which is also where names are looked up."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOO_PATH", str(tmp_path))


def write(path: str, text: str) -> str:
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"name: {file.stem}\n{text}")
    return f"./{path}"


def wrong(path: str) -> SpecError:
    with pytest.raises(SpecError) as error:
        load_entry(path)
    return error.value


@pytest.mark.parametrize("reference", ["./inner.yaml", "inner"])
def test_a_file_is_resolved_from_where_it_lies(reference):
    write("parts/inner.yaml", BODY)
    write("parts/base.yaml", f"nest: {reference}\n{OUTER}")
    child = load_entry(write("child.yaml", "extends: parts/base.yaml\n"))
    assert child.graph.graph_hash == load_entry("parts/base.yaml").graph.graph_hash


def test_an_inherited_inner_level_can_be_changed():
    write("inner.yaml", BODY)
    write("base.yaml", f"nest: inner\n{OUTER}")
    child = load_entry(write("child.yaml", "extends: base\nnest: {stages: {r8: {width: 96}}}\n"))
    same = load_entry(write("same.yaml", f"nest: {{extends: inner, stages: {{r8: {{width: 96}}}}}}\n{OUTER}"))
    assert child.graph.graph_hash == same.graph.graph_hash
    # It is no longer what its name says.
    assert child.spec.nest.name is None and load_entry("base").spec.nest.name == "inner"


def test_another_inner_level_replaces_the_inherited_one():
    write("inner.yaml", BODY + "inputs: {classes: 3}\n")
    write("other.yaml", BODY)
    write("base.yaml", f"nest: inner\n{OUTER}")
    for nest in ("other", "{extends: other}"):
        child = load_entry(write("child.yaml", f"extends: base\nnest: {nest}\n"))
        assert child.graph.classes is None and child.spec.nest.name == "other"


@pytest.mark.parametrize("text", ["nest: loop\n", "nest: {extends: loop}\n", "extends: loop\n"])
def test_an_entry_within_itself(text):
    (problem,) = wrong(write("loop.yaml", text + OUTER)).problems
    assert problem.code == "cyclic-reference"
    assert problem.message.endswith("loop -> loop")


@pytest.mark.parametrize("link", ["extends: NEXT\n", "nest: NEXT\n" + OUTER, "nest: {extends: NEXT}\n" + OUTER])
def test_a_chain_without_end(link):
    for index in range(600):
        write(f"e{index}.yaml", link.replace("NEXT", f"e{index + 1}"))
    assert [problem.code for problem in wrong("e0").problems] == ["too-large"]


def test_references_that_double_at_every_step():
    for index in range(28):
        write(f"x{index}.yaml", f"extends: x{index + 1}\nnest: {{extends: x{index + 1}}}\n")
    write("x28.yaml", BODY)
    assert [problem.code for problem in wrong("x0").problems] == ["too-large"]


def test_a_variant_may_stand_around_its_own_entry():
    write(
        "small.yaml",
        BODY + "variants: {big: {resolution: 32, nest: small, stages: {r32: {width: 32}, r16: {width: 32}}}}\n",
    )
    assert load_entry("big").graph.labels == ("r32", "r16")


def test_variants_of_a_graph():
    write("small.yaml", GRAPH + "variants: {big: {multiply: {width: 1.5}}, deep: {multiply: {depth: 2}}}\n")
    level = load_entry("big").graph.levels[0]
    assert (level.stem_width, level.nodes[0].width) == (48, 64)
    assert wrong("deep").problems[0].message == "a graph has no depth to multiply, because it lists every node"


def test_typos_under_variants_are_found_with_the_entry_itself():
    path = write("small.yaml", BODY + "variants: {a: {multiply: {widht: 2}}, b: {stagse: {}}, c: 3}\n")
    assert [problem.message for problem in wrong(path).problems] == [
        "'multiply' has no field 'widht'; did you mean 'width'?",
        "variant 'b' has no field 'stagse'; did you mean 'stages'?",
        "variant 'c' must be a mapping of changes",
    ]
    message = "'variants' must be a mapping from names to changes"
    assert wrong(write("list.yaml", BODY + "variants: [1]\n")).problems[0].message == message


def test_tags_beside_a_file_are_found():
    write("parts/data/three.yaml", "inputs: {classes: 3}\n")
    write("parts/base.yaml", BODY)
    outer = load_text(f"name: x\nextends: {Path('parts').absolute()}/base.yaml\n")
    assert outer.graph.classes is None
    assert load_entry(write("parts/use.yaml", "extends: base.three\n")).graph.classes == 3
