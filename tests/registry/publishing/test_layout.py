"""Diagrams: every line apart from the others and from the boxes; files whole or not at all."""

from __future__ import annotations

import errno
from itertools import combinations, pairwise

import pytest
from matplotlib.figure import Figure

import zoo
from registry.publishing.diagram import draw_entry, draw_svg
from registry.publishing.layout import lay_out
from specs.load import load_text
from tests.helpers.images import read_image

BRANCHES = """
name: branches
resolution: 32
graph:
  stem: {width: 32}
  a: {block: resnet, width: 32, from: stem}
  b: {block: resnet, width: 32, from: stem}
  c: {block: resnet, width: 64, from: {down: a}}
  d: {block: resnet, width: 64, from: {down: b}}
  e: {block: resnet, width: 64, from: {down: c}}
  f: {block: resnet, width: 64, from: {down: d}}
  g: {block: resnet, width: 64, from: [e, f], merge: add}
  h: {block: resnet, width: 64, from: [c, d, {up: g}], merge: cat}
  i: {block: resnet, width: 32, from: [a, b, {up: h}], merge: cat}
  j: {block: resnet, width: 32, from: {down: i}}
  k: {block: resnet, width: 32, from: [i, a, b, {up: j}], merge: cat}
  head: {from: k}
"""
BOTH = """
name: both
resolution: 16
frames: 8
stages: {r16f8: {width: 32, temporal: 1}, r8f4: {width: 32}, r8f2: {width: 32}, r4f2: {width: 32}}
"""
PIECES = [zoo.get(name).architecture for name in zoo.list()] + [load_text(text).graph for text in (BRANCHES, BOTH)]


def overlap(one, two) -> bool:
    """Whether two segments run along each other."""
    (ax, ay), (bx, by) = one
    (cx, cy), (dx, dy) = two
    ux, uy = bx - ax, by - ay
    if any(abs(ux * (y - ay) - uy * (x - ax)) > 0.04 * (abs(ux) + abs(uy)) for x, y in two):
        return False  # not on one straight line
    length = ux * ux + uy * uy
    first, second = sorted(((x - ax) * ux + (y - ay) * uy) / length for x, y in ((cx, cy), (dx, dy)))
    return min(second, 1) - max(first, 0) > 0.02


@pytest.mark.parametrize("graph", PIECES, ids=lambda graph: graph.name)
def test_no_line_runs_along_another_or_through_a_box(graph):
    layout = lay_out(graph)
    parts = [(line, segment) for line in layout.lines for segment in pairwise(line.points)]
    for (one, first), (two, second) in combinations(parts, 2):
        assert one is two or not overlap(first, second), (one, two)
    for line, segment in parts:
        for box in layout.boxes:
            if box not in (line.first, line.second):
                assert not box.area.meets(*segment), (line, box.blocks)
        if line.first.level == line.second.level:
            for frame in layout.frames[line.first.level + 1 :]:
                assert not frame.meets(*segment)


@pytest.mark.parametrize("graph", PIECES, ids=lambda graph: graph.name)
def test_what_is_drawn(graph):
    layout = lay_out(graph)
    drawn = {(line.first, line.second) for line in layout.lines}
    boxes = {(box.level, node.name): box for box in layout.boxes for node in box.nodes}
    assert len(drawn) == len(layout.lines)
    for level, part in enumerate(graph.levels):
        for node in part.nodes:
            for name in node.inputs:
                ends = boxes[level, name], boxes[level, node.name]
                assert ends[0] is ends[1] or ends in drawn, node.name
    for line in layout.lines:
        same = (line.first.level, line.first.size) == (line.second.level, line.second.size)
        assert line.skip == same
    assert len({box.x for box in layout.boxes}) == len(layout.boxes)
    for level, frame in enumerate(layout.frames):
        for box in layout.boxes:
            if box.level >= level:
                area = box.area
                assert frame.left < area.left and area.right < frame.right
                assert frame.bottom < area.bottom and area.top < frame.top


def dense(nodes: int, reads: int) -> str:
    """The spec of a graph in which every node reads many of those before it, at two resolutions."""
    lines = ["name: dense", "resolution: 32", "graph:", "  stem: {width: 32}", "  a0: {block: conv, from: stem}"]
    for index in range(1, nodes):
        ways = {0: "a{}", 1: "{{down: a{}}}" if index % 2 else "{{up: a{}}}"}
        inputs = [ways[(index - other) % 2].format(other) for other in range(max(0, index - reads), index)]
        merge = ", merge: add" if len(inputs) > 1 else ""
        lines.append(f"  a{index}: {{block: conv, from: [{', '.join(inputs)}]{merge}}}")
    return "\n".join([*lines, f"  head: {{from: a{nodes - 1}}}"])


def test_hundreds_of_lines(tmp_path):
    """They are routed above all boxes, in lanes of their own."""
    graph = load_text(dense(31, 30)).graph
    layout = lay_out(graph)
    lanes: dict[float, list[tuple[float, float]]] = {}
    for line in layout.lines:
        if len(line.points) == 4:
            lanes.setdefault(line.points[1][1], []).append((line.points[1][0], line.points[2][0]))
    assert len(layout.lines) > 400 and min(lanes) > max(box.y for box in layout.boxes)
    for spans in lanes.values():
        assert all(first[1] <= second[0] for first, second in pairwise(sorted(spans)))


def test_wide_pictures_have_a_lower_resolution(tmp_path, monkeypatch):
    monkeypatch.setattr("registry.publishing.diagram.MAX_PIXELS", 300)
    draw_entry(zoo.get("unetpp-s64").architecture, tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").width == 300


def test_the_ten_nodes_of_unetpp():
    layout = lay_out(zoo.get("unetpp-s64").architecture)
    assert len(layout.boxes) == 10
    assert sorted(line.skip for line in layout.lines) == [False] * 9 + [True] * 10


def test_steps_are_solid_with_heads_and_skips_dashed():
    text = draw_svg(zoo.get("unetpp-s64").architecture)
    assert text.count("stroke-dasharray") == 10 and text == draw_svg(zoo.get("unetpp-s64").architecture)


def test_a_level_of_any_name():
    entry = load_text("name: x\nsummary: $a^$ <b>\nresolution: 8\nstages: {r8: {width: 32}}\n")
    assert "<svg" in draw_svg(entry.graph)


@pytest.mark.parametrize("suffix", ["svg", "png", "pdf"])
def test_a_full_disk(cli, monkeypatch, suffix):
    from pathlib import Path

    Path(f"a.{suffix}").write_text("before")
    save = Figure.savefig

    def full(self, file, **options):
        save(self, file, **options)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", full)
    code, out, err = cli("draw", "mdm-micro", "-o", f"a.{suffix}")
    assert (code, out, err) == (2, "", f"error: a.{suffix}: No space left on device\n")
    assert Path(f"a.{suffix}").read_text() == "before" and [path.name for path in Path().iterdir()] == [f"a.{suffix}"]


def test_stages_in_time_are_boxes_of_their_own():
    layout = lay_out(load_text(BOTH).graph)
    sizes = [box.size.label for box in layout.boxes]
    assert sizes == ["r16f8", "r8f4", "r8f2", "r4f2", "r8f2", "r8f4", "r16f8"]
    heights = [box.y for box in layout.boxes]
    assert heights == heights[::-1] and heights[:4] == sorted(heights[:4], reverse=True) and len(set(heights)) == 4
    assert layout.boxes[0].blocks == "resnet\ntemporal_attention"
    assert "16 px x 8" in draw_svg(load_text(BOTH).graph)
