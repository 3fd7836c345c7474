"""Nothing small describes something endless, and whatever loads can be written out and loaded again."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specs.errors import SpecError
from specs.load import expanded_yaml, load_spec, load_text
from specs.syntax.merge import merge
from specs.syntax.yaml_tree import parse_text, plain

BODY = "resolution: 16\nstages:\n  r16: {width: 32}\n"


def graph(nodes: list[str], head: str) -> str:
    lines = ["name: x", "resolution: 16", "graph:", "  stem: {width: 64}", *(f"  {node}" for node in nodes)]
    return "\n".join([*lines, f"  head: {{from: {head}}}", ""])


def refusal(text: str) -> str:
    started = time.process_time()
    with pytest.raises(SpecError) as error:
        load_text(text)
    assert time.process_time() - started < 1
    return str(error.value)


def test_repeated_nodes_are_counted_before_they_are_written_out():
    nodes = [f"n{i}: {{block: conv, repeat: 1000, from: {f'n{i - 1}' if i else 'stem'}}}" for i in range(2000)]
    assert "'graph' has 2,000,000 blocks, but a level has at most 20,000" in refusal(graph(nodes, "n1999"))


def test_merged_widths_are_bounded():
    nodes = [f"n{i}: {{block: conv, from: [{f'n{i - 1}' if i else 'stem'}, stem], merge: cat}}" for i in range(2)]
    assert load_text(graph(nodes, "n1")).graph.levels[0].nodes[1].width == 192
    wide = ["n: {block: conv, width: 60000, from: stem}", "m: {block: conv, width: 32, from: [n, n], merge: cat}"]
    assert "node 'm' reads 120,000 channels, but at most 65,536 are allowed" in refusal(graph(wide, "m"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"name: a b\n{BODY}", "'name' must have letters, digits, '-', '_' and '.', a letter or digit first"),
        (f"name: x\nsummary: {'y' * 1001}\n{BODY}", "'summary' must have at most 1000 characters"),
        (graph(["a: {block: conv, from: []}"], "a"), "'from' must have at least 1 item\n"),
    ],
)
def test_messages_are_in_the_words_of_the_language(text, message):
    assert message in refusal(text)


printable = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@given(summary=printable)
@settings(max_examples=200, deadline=None)
def test_any_summary_is_written_so_that_it_reads_the_same(summary):
    spec = load_text(f"name: x\n{BODY}").spec.model_copy(update={"summary": summary})
    loaded = load_spec(spec)
    assert loaded.spec.summary == summary
    assert load_text(expanded_yaml(loaded)).spec.summary == summary


@pytest.mark.parametrize("name", ["None", "null", "true", "1e5", "0x1F", "9" * 30, "1", "1.5", "y-z.a"])
def test_any_name_is_written_so_that_it_reads_the_same(name):
    loaded = load_text(f"name: '{name}'\n{BODY}inputs: {{'null': {{default: 2}}}}\n")
    again = load_text(expanded_yaml(loaded))
    assert again.name == name and again.graph.hash == loaded.graph.hash


@pytest.mark.parametrize("node", ["true", "null", "y"])
def test_any_node_is_written_so_that_it_reads_the_same(node):
    loaded = load_text(graph([f"'{node}': {{block: conv, from: stem}}"], f"'{node}'"))
    assert load_text(expanded_yaml(loaded)).graph.hash == loaded.graph.hash


keys = st.sampled_from(["a", "b", "c", "d"])
trees = st.recursive(
    st.integers(0, 3) | st.lists(st.integers(0, 3), max_size=2),
    lambda inner: st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)
mappings = st.dictionaries(keys, trees, max_size=4)


def merged(*layers: dict) -> dict:
    result = parse_text(str(layers[0]))
    for layer in layers[1:]:
        result = merge(result, parse_text(str(layer)))
    return plain(result)


@given(base=mappings, child=mappings)
def test_merging(base, child):
    assert merged(base, {}) == base and merged({}, child) == child
    once = merged(base, child)
    assert merged(base, child, child) == once
    assert set(once) == {*base, *child}
    for key, value in child.items():
        if not isinstance(value, dict):
            assert once[key] == value


@given(base=mappings)
def test_null_removes(base):
    removal = parse_text("{" + ", ".join(f"{key}: null" for key in base) + "}")
    assert plain(merge(parse_text(str(base)), removal)) == {}


def test_hundreds_of_errors_are_not_mended():
    """Mending takes time for each error; the errors of later passes wait until the first ones are repaired."""
    few, many = (", ".join(f"depht{n}: 1" for n in range(count)) for count in (3, 150))
    text = "{{name: x, resolution: 16, stages: {{r17: {{width: 32}}}}, {}}}"
    assert "bad-resolution" in refusal(text.format(few))
    assert "bad-resolution" not in refusal(text.format(many))
