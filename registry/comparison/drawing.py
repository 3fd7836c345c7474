"""A chart of matplotlib as an SVG element or a PNG file, and what charts share: colors and logarithmic axes."""

from __future__ import annotations

import contextlib
import io
import math
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from registry.costs.units import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

__all__ = ["color", "few_ticks", "log_axis", "png_chart", "svg_chart"]

COLORS = ("#1f6fb4", "#c8102e", "#2a8f4e", "#a65e00", "#7b3fa0", "#0c8c96", "#b0487a", "#5b6770", "#8a8d00", "#d9541e")
#: Zeros at the end of a number, which may have a unit: those of 20.00 M, but not of 0.003.
_ZEROS = re.compile(r"\.0+(?=\s|$)")


def color(index: int) -> str:
    """Return the color of an entry by its place in the comparison."""
    return COLORS[index % len(COLORS)]


def svg_chart(title: str, draw: Callable[[Axes], object], height: float) -> str:
    """Return a chart as an ``<svg>`` element.

    Args:
        title: Text that no other chart of a page has.
        draw: Function that draws the chart.
        height: Height in inches.
    """
    text = io.StringIO()
    # With the salt, charts in one page have different ids, and equal charts have equal ones.
    with _drawing({"svg.hashsalt": title, "svg.fonttype": "none"}):
        # Without a date, equal charts are equal files.
        _figure(draw, height).savefig(text, format="svg", metadata={"Date": None})
    svg = text.getvalue()
    return svg[svg.index("<svg") :]


def png_chart(draw: Callable[[Axes], object], height: float) -> bytes:
    """Return a chart as a PNG file of 160 pixels per inch, 1,024 pixels wide.

    Args:
        draw: Function that draws the chart.
        height: Height in inches.
    """
    content = io.BytesIO()
    with _drawing({}):
        _figure(draw, height).savefig(content, format="png", dpi=160, metadata={"Software": None})
    return content.getvalue()


@contextlib.contextmanager
def _drawing(settings: dict[str, Any]) -> Iterator[None]:
    import matplotlib

    common: Any = {"font.family": "sans-serif", "font.size": 10}
    with matplotlib.rc_context(common | settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # the browser draws the text, with a font that has the letter
        yield


def _figure(draw: Callable[[Axes], object], height: float) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, height), layout="constrained")
    axes = figure.subplots()
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)
    draw(axes)
    return figure


def log_axis(axes: Axes, values: Sequence[float], shown: Callable[[float], str] | None = None) -> None:
    """Make the x axis logarithmic, with few enough labels to be readable: ``20 M``."""
    axes.set_xscale("log")
    few_ticks(axes.xaxis, values, shown or (lambda value: short(round(value))))


def few_ticks(axis: Axis, values: Sequence[float], shown: Callable[[float], str]) -> None:
    """Label a logarithmic axis at few round values."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    decades = math.log10(max(values) / min(values)) if values and min(values) > 0 else 0.0
    places = (1, 2, 3, 4, 5, 6, 8) if decades < 0.5 else (1, 2, 5) if decades < 1.5 else (1, 3) if decades < 3 else (1,)
    axis.set_major_locator(LogLocator(subs=places, numticks=12))
    axis.set_major_formatter(FuncFormatter(lambda value, _: _ZEROS.sub("", shown(value))))
    axis.set_minor_formatter(NullFormatter())
