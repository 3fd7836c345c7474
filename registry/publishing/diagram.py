"""A picture of an entry: its levels as dolls, its stages as boxes, its skips as dashed lines."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from specs.graph import EntryGraph, Node, shapes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_entry", "draw_svg"]

#: One colour a level, outermost first; the last serves all further ones.
COLOURS = ("#2f6fab", "#c8553d", "#3f8f5f", "#8a5fa8", "#b58a2e", "#5b6470")
FORMATS = (".svg", ".png", ".pdf")
BOX_WIDTH, BOX_HEIGHT, COLUMN = 1.3, 0.5, 1.75
#: How far a level is lifted above the one inside it, so that stages of one resolution stand apart.
LIFT = 0.55


@dataclass(eq=False)
class Run:
    """Consecutive blocks of one level at one resolution: a box of the picture."""

    level: int
    resolution: int
    nodes: list[Node] = field(default_factory=list)
    x: float = 0.0
    y: float = 0.0

    @property
    def shown(self) -> list[Node]:
        """The blocks that the box tells of: those that only change the resolution count if they stand alone."""
        kept = [node for node in self.nodes if node.block not in ("down", "up", "nest")]
        return kept or self.nodes

    @property
    def widths(self) -> list[int]:
        """Channels, in order, each once."""
        return list(dict.fromkeys(node.width for node in self.shown))

    @property
    def blocks(self) -> str:
        """How many blocks of each kind."""
        counts = Counter(node.block for node in self.shown if node.block not in ("stem", "head"))
        return "\n".join(name if n == 1 else f"{n} {name}" for name, n in counts.items())


def draw_entry(graph: EntryGraph, path: Path) -> None:
    """Write a picture of an entry.

    Args:
        graph: a checked entry.
        path: where to; its suffix, .svg, .png or .pdf, is the format.

    Raises:
        ValueError: another suffix.
        OSError: the file cannot be written.
    """
    if path.suffix.lower() not in FORMATS:
        raise ValueError(f"{path}: pictures are written as {', '.join(FORMATS)}")
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    runs, lines = _layout(graph)
    width = COLUMN * len(runs) + 1.2
    top, bottom = max(run.y for run in runs) + 1.0, min(run.y for run in runs) - 0.9 - 0.14 * len(graph.levels)
    # Without a fixed salt, two pictures of one entry would differ in their ids.
    with rc_context({"svg.hashsalt": graph.name, "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure = Figure(figsize=(max(5.0, 0.52 * width), max(2.6, 0.68 * (top - bottom))))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_xlim(-1.3, COLUMN * (len(runs) - 1) + 1.3)
        axes.set_ylim(bottom, top)
        axes.axis("off")
        for level in range(len(graph.levels)):
            _draw_doll(axes, graph, runs, level)
        for first, second, skip in lines:
            _draw_line(axes, first, second, skip)
        for run in runs:
            _draw_run(axes, run)
        metadata = {"Date": None} if path.suffix.lower() == ".svg" else None
        figure.savefig(path, dpi=160, metadata=metadata)


def draw_svg(graph: EntryGraph) -> str:
    """The picture as an ``<svg>`` element, to stand in a page."""
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        path = Path(folder) / "picture.svg"
        draw_entry(graph, path)
        text = path.read_text()
    return text[text.index("<svg") :]


def _walk(graph: EntryGraph, level: int) -> Iterator[tuple[int, int, Node]]:
    """Blocks in the order in which data passes them: level, resolution, node; an inner level before its nest."""
    this = graph.levels[level]
    sizes = shapes(this)
    yield level, this.resolution, Node("stem", "stem", this.stem_width, (), ())
    for node in this.nodes:
        if node.block == "nest":
            yield from _walk(graph, level + 1)
        yield level, sizes[node.name][1], node
    yield level, this.resolution, Node("head", "head", sizes[this.head][0], (), (this.head,))


def _layout(graph: EntryGraph) -> tuple[list[Run], list[tuple[Run, Run, bool]]]:
    """Boxes from left to right, and the lines between them: from, to, whether it skips boxes."""
    runs: list[Run] = []
    places: dict[tuple[int, str], Run] = {}
    edges: dict[tuple[int, int], None] = {}
    for level, resolution, node in _walk(graph, 0):
        if not runs or (runs[-1].level, runs[-1].resolution) != (level, resolution):
            lifted = LIFT * (len(graph.levels) - 1 - level)
            runs.append(Run(level, resolution, x=COLUMN * len(runs), y=math.log2(resolution) + lifted))
            if node.block == "stem" and level:
                edges[len(runs) - 2, len(runs) - 1] = None
        runs[-1].nodes.append(node)
        if node.block == "nest":
            edges[len(runs) - 2, len(runs) - 1] = None
        for name in node.inputs:
            edges[runs.index(places[level, name]), len(runs) - 1] = None
        places[level, node.name] = runs[-1]
    return runs, [(runs[a], runs[b], b - a > 1) for a, b in edges if a != b]


def _draw_doll(axes: Axes, graph: EntryGraph, runs: list[Run], level: int) -> None:
    from matplotlib.patches import FancyBboxPatch

    inside = [run for run in runs if run.level >= level]
    pad = 0.95 - 0.04 * level
    left, right = inside[0].x - pad, inside[-1].x + pad
    bottom = min(run.y for run in inside) - 0.85 - 0.14 * (len(graph.levels) - 1 - level)
    top = max(run.y for run in inside) + 0.62
    colour = COLOURS[min(level, len(COLOURS) - 1)]
    style = "round,pad=0,rounding_size=0.35"
    shape: dict[str, Any] = {"facecolor": "white", "edgecolor": colour, "linewidth": 1.2, "zorder": 1 + level}
    axes.add_patch(FancyBboxPatch((left, bottom), right - left, top - bottom, boxstyle=style, **shape))
    tint: dict[str, Any] = {"facecolor": colour, "edgecolor": "none", "alpha": 0.07, "zorder": 1 + level}
    axes.add_patch(FancyBboxPatch((left, bottom), right - left, top - bottom, boxstyle=style, **tint))
    label = graph.levels[level].label
    middle = (left + right) / 2
    axes.text(middle, top - 0.2, label, color=colour, ha="center", va="center", weight="bold", size=11, zorder=30)


def _draw_line(axes: Axes, first: Run, second: Run, skip: bool) -> None:
    colour = COLOURS[min(max(first.level, second.level), len(COLOURS) - 1)]
    half = BOX_WIDTH / 2
    if not skip:
        style: dict[str, Any] = {"arrowstyle": "-|>", "color": colour, "linewidth": 1.2, "shrinkA": 0, "shrinkB": 0}
        ends: dict[str, Any] = {"xy": (second.x - half, second.y), "xytext": (first.x + half, first.y)}
        axes.annotate("", **ends, arrowprops=style, zorder=20)
        return
    # The skips of a level run beneath the levels inside it, as a doll's shell does.
    xs, ys = (first.x + half, second.x - half), (first.y, second.y)
    axes.plot(xs, ys, color=colour, linewidth=1, linestyle=(0, (4, 3)), alpha=0.7, zorder=1.5 + first.level)


def _draw_run(axes: Axes, run: Run) -> None:
    from matplotlib.patches import FancyBboxPatch

    colour = COLOURS[min(run.level, len(COLOURS) - 1)]
    corner = (run.x - BOX_WIDTH / 2, run.y - BOX_HEIGHT / 2)
    style = "round,pad=0,rounding_size=0.08"
    box = FancyBboxPatch(corner, BOX_WIDTH, BOX_HEIGHT, boxstyle=style, facecolor=colour, edgecolor="none", zorder=21)
    axes.add_patch(box)
    centre: dict[str, Any] = {"ha": "center", "zorder": 30}
    widths = "-".join(map(str, run.widths))
    axes.text(run.x, run.y + 0.09, f"{run.resolution} px", color="white", va="center", size=8, weight="bold", **centre)
    axes.text(run.x, run.y - 0.11, widths, color="white", va="center", size=7.5, **centre)
    axes.text(run.x, run.y - 0.31, run.blocks, color="#444444", va="top", size=6.5, linespacing=1.1, **centre)
