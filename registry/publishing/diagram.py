"""Architecture diagram of an entry: nested levels, stages as boxes, skips as dashed lines."""

from __future__ import annotations

import io
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builders.files import replacing
from specs.graph import EntryGraph, Node, shapes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_entry", "draw_svg"]

#: One color per level, outermost first; deeper levels have the last one.
COLORS = ("#2f6fab", "#c8553d", "#3f8f5f", "#8a5fa8", "#b58a2e", "#5b6470")
FORMATS = (".svg", ".png", ".pdf")
BOX_WIDTH, BOX_HEIGHT, COLUMN = 1.3, 0.5, 1.75
#: Vertical offset of a level above the one inside it, so that stages of the same resolution do not overlap.
LIFT = 0.55


@dataclass(eq=False)
class Box:
    """A box of the diagram: consecutive blocks of one level at one resolution."""

    level: int
    resolution: int
    nodes: list[Node] = field(default_factory=list)
    x: float = 0.0
    y: float = 0.0

    @property
    def color(self) -> str:
        """Color of the level."""
        return COLORS[min(self.level, len(COLORS) - 1)]

    @property
    def shown(self) -> list[Node]:
        """The blocks in the text: without those that only change the resolution, unless there are no others."""
        return [node for node in self.nodes if node.block not in ("down", "up", "nest")] or self.nodes

    @property
    def widths(self) -> str:
        """The widths of the blocks, without repetitions."""
        return "-".join(map(str, dict.fromkeys(node.width for node in self.shown)))

    @property
    def blocks(self) -> str:
        """The number of blocks of each kind, one kind per line."""
        counts = Counter(node.block for node in self.shown if node.block not in ("stem", "head"))
        return "\n".join(name if n == 1 else f"{n} {name}" for name, n in counts.items())


def draw_entry(graph: EntryGraph, path: Path) -> None:
    """Write the diagram of an entry to a file.

    Args:
        graph: Checked entry.
        path: File to write. Its suffix, .svg, .png or .pdf, is the format.

    Raises:
        ValueError: The path has another suffix.
        OSError: The file cannot be written and is unchanged.
    """
    form = path.suffix.lower()
    if form not in FORMATS:
        raise ValueError(f"{path}: pictures are written as {', '.join(FORMATS)}")
    with replacing(path) as temporary:
        _draw(graph, temporary, form.removeprefix("."))


def draw_svg(graph: EntryGraph) -> str:
    """Return the diagram as an ``<svg>`` element."""
    text = io.StringIO()
    _draw(graph, text, "svg")
    return text.getvalue()[text.getvalue().index("<svg") :]


def _draw(graph: EntryGraph, file: Path | io.StringIO, form: str) -> None:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    boxes, lines = _layout(graph)
    width = COLUMN * len(boxes) + 1.2
    top, bottom = max(box.y for box in boxes) + 1.0, min(box.y for box in boxes) - 0.9 - 0.14 * len(graph.levels)
    # Without a fixed salt and with a date, two diagrams of one entry would differ.
    with rc_context({"svg.hashsalt": graph.name, "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure = Figure(figsize=(max(5.0, 0.52 * width), max(2.6, 0.68 * (top - bottom))))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_xlim(-1.3, COLUMN * (len(boxes) - 1) + 1.3)
        axes.set_ylim(bottom, top)
        axes.axis("off")
        for level in range(len(graph.levels)):
            _draw_level(axes, graph, boxes, level)
        for first, second, skip in lines:
            _draw_line(axes, first, second, skip)
        for box in boxes:
            _draw_box(axes, box)
        figure.savefig(file, format=form, dpi=160, metadata={"Date": None} if form == "svg" else None)


def _walk(graph: EntryGraph, level: int) -> Iterator[tuple[int, int, Node]]:
    """Yield level, resolution and node of all blocks in the order of the data; an inner level before its nest."""
    this = graph.levels[level]
    sizes = shapes(this)
    yield level, this.resolution, Node("stem", "stem", this.stem_width, (), ())
    for node in this.nodes:
        if node.block == "nest":
            yield from _walk(graph, level + 1)
        yield level, sizes[node.name][1], node
    yield level, this.resolution, Node("head", "head", sizes[this.head][0], (), (this.head,))


def _layout(graph: EntryGraph) -> tuple[list[Box], list[tuple[Box, Box, bool]]]:
    """Return the boxes from left to right, and the lines between them: from, to, whether it skips boxes."""
    boxes: list[Box] = []
    places: dict[tuple[int, str], int] = {}
    edges: dict[tuple[int, int], None] = {}  # a set that keeps its order
    for level, resolution, node in _walk(graph, 0):
        if not boxes or (boxes[-1].level, boxes[-1].resolution) != (level, resolution):
            y = math.log2(resolution) + LIFT * (len(graph.levels) - 1 - level)
            boxes.append(Box(level, resolution, x=COLUMN * len(boxes), y=y))
        place = len(boxes) - 1
        boxes[-1].nodes.append(node)
        if node.block == "nest" or (node.block == "stem" and level):
            edges[place - 1, place] = None
        edges |= dict.fromkeys((places[level, name], place) for name in node.inputs)
        places[level, node.name] = place
    return boxes, [(boxes[a], boxes[b], b - a > 1) for a, b in edges if a != b]


def _draw_level(axes: Axes, graph: EntryGraph, boxes: list[Box], level: int) -> None:
    """Draw the frame around a level and the levels inside it."""
    inside = [box for box in boxes if box.level >= level]
    pad = 0.95 - 0.04 * level
    left, right = inside[0].x - pad, inside[-1].x + pad
    bottom = min(box.y for box in inside) - 0.85 - 0.14 * (len(graph.levels) - 1 - level)
    top = max(box.y for box in inside) + 0.62
    color = inside[0].color
    size = (right - left, top - bottom, 0.35)
    _add_rectangle(axes, left, bottom, *size, facecolor="white", edgecolor=color, linewidth=1.2, zorder=1 + level)
    _add_rectangle(axes, left, bottom, *size, facecolor=color, edgecolor="none", alpha=0.07, zorder=1 + level)
    label: dict[str, Any] = {"color": color, "weight": "bold", "size": 11, "zorder": 30}
    axes.text((left + right) / 2, top - 0.2, graph.levels[level].label, ha="center", va="center", **label)


def _draw_line(axes: Axes, first: Box, second: Box, skip: bool) -> None:
    color = max(first, second, key=lambda box: box.level).color
    half = BOX_WIDTH / 2
    if not skip:
        style: dict[str, Any] = {"arrowstyle": "-|>", "color": color, "linewidth": 1.2, "shrinkA": 0, "shrinkB": 0}
        ends: dict[str, Any] = {"xy": (second.x - half, second.y), "xytext": (first.x + half, first.y)}
        axes.annotate("", **ends, arrowprops=style, zorder=20)
        return
    # The skips of a level are drawn behind the frames of the levels inside it.
    xs, ys = (first.x + half, second.x - half), (first.y, second.y)
    axes.plot(xs, ys, color=color, linewidth=1, linestyle=(0, (4, 3)), alpha=0.7, zorder=1.5 + first.level)


def _draw_box(axes: Axes, box: Box) -> None:
    corner = (box.x - BOX_WIDTH / 2, box.y - BOX_HEIGHT / 2)
    _add_rectangle(axes, *corner, BOX_WIDTH, BOX_HEIGHT, 0.08, facecolor=box.color, edgecolor="none", zorder=21)
    inside: dict[str, Any] = {"color": "white", "ha": "center", "va": "center", "zorder": 30}
    axes.text(box.x, box.y + 0.09, f"{box.resolution} px", size=8, weight="bold", **inside)
    axes.text(box.x, box.y - 0.11, box.widths, size=7.5, **inside)
    below: dict[str, Any] = {"color": "#444444", "ha": "center", "va": "top", "zorder": 30}
    axes.text(box.x, box.y - 0.31, box.blocks, size=6.5, linespacing=1.1, **below)


def _add_rectangle(
    axes: Axes, left: float, bottom: float, width: float, height: float, rounding: float, **style: Any
) -> None:
    """Add a rectangle with rounded corners."""
    from matplotlib.patches import FancyBboxPatch

    shape = f"round,pad=0,rounding_size={rounding}"
    axes.add_patch(FancyBboxPatch((left, bottom), width, height, boxstyle=shape, **style))
