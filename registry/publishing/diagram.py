"""Architecture diagram of an entry: nested levels, stages as boxes, steps as arrows, skips as dashed lines."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builders.files import replacing
from registry.publishing.layout import BOX_HEIGHT, BOX_WIDTH, Box, Frame, Line, Point, lay_out
from specs.graph import EntryGraph

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_entry", "draw_svg"]

#: One color per level, outermost first; deeper levels have the last one.
COLORS = ("#2f6fab", "#c8553d", "#3f8f5f", "#8a5fa8", "#b58a2e", "#5b6470")
FORMATS = (".svg", ".png", ".pdf")
#: Largest width of a picture in pixels; of a wider one the resolution is lower.
MAX_PIXELS = 20_000


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
        raise ValueError(f"{path}: pictures are written as {', '.join(FORMATS[:-1])} or {FORMATS[-1]}")
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

    layout = lay_out(graph)
    outer = layout.frames[0]
    margin = 0.3
    size = (max(5.0, 0.52 * (outer.right - outer.left + margin)), max(2.6, 0.68 * (outer.top - outer.bottom + margin)))
    # Without a fixed salt and with a date, two diagrams of one entry would differ.
    with rc_context({"svg.hashsalt": graph.name, "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure = Figure(figsize=size)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_xlim(outer.left - margin, outer.right + margin)
        axes.set_ylim(outer.bottom - margin, outer.top + margin)
        axes.axis("off")
        for level, frame in enumerate(layout.frames):
            _draw_level(axes, frame, level, graph.levels[level].label)
        for line in layout.lines:
            _draw_line(axes, line)
        for box in layout.boxes:
            _draw_box(axes, box)
        dpi = min(160.0, MAX_PIXELS / max(size))
        figure.savefig(file, format=form, dpi=dpi, metadata={"Date": None} if form == "svg" else None)


def _color(level: int) -> str:
    return COLORS[min(level, len(COLORS) - 1)]


def _draw_level(axes: Axes, frame: Frame, level: int, title: str) -> None:
    """Draw the frame around a level and the levels inside it."""
    color, left, bottom = _color(level), frame.left, frame.bottom
    size = (frame.right - left, frame.top - bottom, 0.35)
    _add_rectangle(axes, left, bottom, *size, facecolor="white", edgecolor=color, linewidth=1.2, zorder=1 + level)
    _add_rectangle(axes, left, bottom, *size, facecolor=color, edgecolor="none", alpha=0.07, zorder=1 + level)
    label: dict[str, Any] = {"color": color, "weight": "bold", "size": 11, "zorder": 30}
    axes.text((left + frame.right) / 2, frame.top - 0.2, _plain(title), ha="center", va="center", **label)


def _draw_line(axes: Axes, line: Line) -> None:
    """Draw a line: dashed if it skips boxes, else solid; with a head where it enters a box."""
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path as Curve

    color = _color(max(line.first.level, line.second.level))
    style: dict[str, Any] = {"color": color, "linewidth": 1.2, "arrowstyle": "-|>", "mutation_scale": 9}
    if line.skip:
        style |= {"linewidth": 1.0, "linestyle": (0, (4, 3)), "alpha": 0.75, "arrowstyle": "-"}
    vertices, codes = _rounded(line.points)
    axes.add_patch(FancyArrowPatch(path=Curve(vertices, codes), shrinkA=0, shrinkB=0, zorder=20, **style))


def _rounded(points: Sequence[Point], radius: float = 0.09) -> tuple[list[Point], list[int]]:
    """Return the vertices and codes of a path with rounded corners."""
    from matplotlib.path import Path as Curve

    vertices, codes = [points[0]], [int(Curve.MOVETO)]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        vertices += [_towards(corner, before, radius), corner, _towards(corner, after, radius)]
        codes += [int(Curve.LINETO), int(Curve.CURVE3), int(Curve.CURVE3)]
    return [*vertices, points[-1]], [*codes, int(Curve.LINETO)]


def _towards(start: Point, end: Point, distance: float) -> Point:
    """Return the point at a distance from ``start`` on the way to ``end``, at most half of the way."""
    length = math.dist(start, end)
    share = min(0.5, distance / length) if length else 0.0
    return start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1])


def _draw_box(axes: Axes, box: Box) -> None:
    corner = (box.x - BOX_WIDTH / 2, box.y - BOX_HEIGHT / 2)
    color = _color(box.level)
    _add_rectangle(axes, *corner, BOX_WIDTH, BOX_HEIGHT, 0.08, facecolor=color, edgecolor="none", zorder=19)
    inside: dict[str, Any] = {"color": "white", "ha": "center", "va": "center", "zorder": 30}
    title = f"{box.size.side} px" + (f" x {box.size.frames}" if box.size.frames > 1 else "")
    axes.text(box.x, box.y + 0.09, title, size=_fitting(8, title, 9), weight="bold", **inside)
    axes.text(box.x, box.y - 0.11, box.widths, size=7.5, **inside)
    below: dict[str, Any] = {"color": "#444444", "ha": "center", "va": "top", "zorder": 30}
    axes.text(box.x, box.y - 0.31, _plain(box.blocks), size=_fitting(6.5, box.blocks, 16), linespacing=1.1, **below)


def _fitting(size: float, text: str, characters: int) -> float:
    """Return the font size of a text that has room for some characters a line at ``size``."""
    return size * min(1.0, characters / max(map(len, (*text.splitlines(), " "))))


def _plain(text: str) -> str:
    """Return a text in which a dollar sign begins no formula."""
    return text.replace("$", r"\$")


def _add_rectangle(
    axes: Axes, left: float, bottom: float, width: float, height: float, rounding: float, **style: Any
) -> None:
    """Add a rectangle with rounded corners."""
    from matplotlib.patches import FancyBboxPatch

    shape = f"round,pad=0,rounding_size={rounding}"
    axes.add_patch(FancyBboxPatch((left, bottom), width, height, boxstyle=shape, **style))
