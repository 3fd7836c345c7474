"""What an entry's graph tells about itself."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace

import pytest

from specs.blocks import Scene
from specs.graph import EntryGraph, MicroInput, Process, TextInput
from specs.load import load_entry
from tests.helpers.graphs import clip_entry, node, plain_level, rich_entry


def test_an_inner_entry_is_a_level_with_all_levels_inside_it() -> None:
    graph = load_entry("mdm-nano").graph
    inner = graph.inner("r32")
    assert (inner.name, inner.labels) == ("mdm-nano", ("r32", "r16"))
    assert inner.graph_hash == graph.graph_hashes["r32"]
    assert graph.inner("r64") == graph


def test_an_entry_has_no_other_levels() -> None:
    message = re.escape("mdm-nano has no level r8; its levels are r64, r32, r16")
    with pytest.raises(ValueError, match=f"^{message}$"):
        load_entry("mdm-nano").graph.inner("r8")


def test_the_scene_of_an_entry_with_and_without_text() -> None:
    assert load_entry("mdm-nano").graph.scene == Scene(128)
    graph = load_entry("mdm-s64").graph
    assert graph.text is not None and graph.text.project is not None
    assert graph.scene == Scene(graph.time_width, graph.text.project, graph.text.tokens)


def test_the_feature_width_is_that_of_the_node_that_the_head_reads() -> None:
    level = load_entry("mdm-s64").graph.levels[0]
    assert level.feature_width == {node.name: node.width for node in level.nodes}[level.head]


#: A level of which nothing is at its default, and the canonical text that its hash is of.
LEVEL = plain_level(
    8,
    node("ä", "conv", 6, "stem", kernel=1),
    node("b", "conv", 6, "ä", "stem", merge="add"),
    head="b",
    channels=2,
    normalize_input=True,
    micro=(MicroInput("scale", 1.0),),
)
TEXT_OF_LEVEL = (
    r'{"channels":2,"head":"b","head_groups":2,"label":"r8","micro":{"scale":1.0},"nodes":{'
    r'"b":{"block":"conv","from":["\u00e4","stem"],"merge":"add","width":6},'
    r'"\u00e4":{"args":{"kernel":1},"block":"conv","from":["stem"],"width":6}},'
    r'"normalize_input":true,"resolution":8,"stem":4}'
)


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def test_what_a_hash_is_of() -> None:
    """Literal texts, since a hash that moves orphans the weights that were trained under it."""
    graph = EntryGraph("any", (LEVEL,), time_width=16)
    assert graph.graph_hash == digest('{"inputs":{"time":16},"levels":[' + TEXT_OF_LEVEL + "]}")
    assert graph.hash == digest('{"graph":"' + graph.graph_hash + '","process":{}}')
    conditioned = replace(graph, text=TextInput(7, 5, project=3), classes=9, process=Process(steps=10, shift=2.0))
    inputs = '{"classes":9,"text":{"project":3,"tokens":5,"width":7},"time":16}'
    assert conditioned.graph_hash == digest('{"inputs":' + inputs + ',"levels":[' + TEXT_OF_LEVEL + "]}")
    process = '{"shift":2.0,"steps":10}'
    assert conditioned.hash == digest('{"graph":"' + conditioned.graph_hash + '","process":' + process + "}")
    based = replace(conditioned, process=Process(base=4))
    assert based.hash == digest('{"graph":"' + based.graph_hash + '","process":{"base":4}}')


def test_a_number_that_is_none_has_no_hash() -> None:
    level = replace(LEVEL, micro=(MicroInput("scale", float("nan")),))
    with pytest.raises(ValueError, match="JSON compliant"):
        EntryGraph("any", (level,), time_width=16).graph_hash  # noqa: B018


def test_an_entry_in_a_terminal_and_in_a_notebook() -> None:
    graph = rich_entry(summary="a test")
    assert repr(graph) == f"<EntryGraph rich: 8 px, levels r8, r4, hash {graph.hash}>"
    assert graph._repr_html_().splitlines() == [
        f"<div><strong>rich, hash {graph.hash}</strong>",
        "<div>a test</div>",
        "<table>",
        "<tr><th>level</th><th>resolution</th><th>nodes</th><th>blocks</th></tr>",
        "<tr><td>r8</td><td>8 px</td><td>5</td><td>2 conv, down, nest, up</td></tr>",
        "<tr><td>r4</td><td>4 px</td><td>3</td><td>resnet, attention, conv</td></tr>",
        "</table></div>",
    ]
    assert clip_entry((8, 2), (8, 1))._repr_html_().splitlines()[2:4] == [
        "<tr><th>level</th><th>size</th><th>nodes</th><th>blocks</th></tr>",
        "<tr><td>r8f2</td><td>8 px, 2 frames</td><td>0</td><td></td></tr>",
    ]
