"""What an entry's graph tells about itself."""

from __future__ import annotations

import re

import pytest

from specs.blocks import Scene
from specs.load import load_entry


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
