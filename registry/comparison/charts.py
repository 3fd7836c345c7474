"""Charts of a comparison as SVG, drawn by matplotlib; one colour an entry throughout."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from registry.comparison.compare import Comparison, Row
from registry.costs.units import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["bar_chart", "cost_bars", "scatter_chart", "training_chart"]

COLORS = ("#1f6fb4", "#c8102e", "#2a8f4e", "#a65e00", "#7b3fa0", "#0c8c96", "#b0487a", "#5b6770", "#8a8d00", "#d9541e")


def color(index: int) -> str:
    """The colour of an entry, by its place in the comparison."""
    return COLORS[index % len(COLORS)]


def _svg(title: str, draw: Callable[[Axes], object], width: float, height: float) -> str:
    import matplotlib
    from matplotlib.figure import Figure

    # The salt keeps the ids of charts in one page apart, and those of one chart the same.
    with matplotlib.rc_context(
        {"svg.hashsalt": title, "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 10}
    ):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.subplots()
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        axes.grid(alpha=0.25, linewidth=0.6)
        axes.set_axisbelow(True)
        draw(axes)
        text = io.StringIO()
        # No date, so that equal charts are equal files.
        figure.savefig(text, format="svg", metadata={"Date": None})
    svg = text.getvalue()
    return svg[svg.index("<svg") :]


def scatter_chart(comparison: Comparison, x: Callable[[Row], float], x_title: str, metric: str) -> str:
    """A cost on a logarithmic axis against a distance with its 95 % interval; entries without it are left out."""

    def draw(axes: Axes) -> None:
        for index, row in enumerate(comparison.rows):
            value = row.value(metric)
            if value is None or row.measured is None:
                continue
            found = row.measured.metrics[metric]
            span = None if found.low is None or found.high is None else [[value - found.low], [found.high - value]]
            nested = len(row.entry.labels) > 1
            axes.errorbar(
                x(row), value, yerr=span, fmt="o" if nested else "s", color=color(index), capsize=3, markersize=8
            )
            axes.annotate(row.entry.name, (x(row), value), xytext=(8, 5), textcoords="offset points", fontsize=9)
        _log_axis(axes, [x(row) for row in comparison.rows if row.value(metric) is not None])
        axes.set_xlabel(x_title)
        axes.set_ylabel(metric)
        axes.margins(x=0.18, y=0.12)

    return _svg(f"{x_title} {metric}", draw, 6.4, 4.2)


def _log_axis(axes: Axes, values: Sequence[float]) -> None:
    """A logarithmic x axis with labels that are few enough to be read: 20.00 M."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_xscale("log")
    decades = math.log10(max(values) / min(values)) if values and min(values) > 0 else 0.0
    places = (1, 2, 3, 4, 5, 6, 8) if decades < 0.5 else (1, 2, 5) if decades < 1.5 else (1, 3) if decades < 3 else (1,)
    axes.xaxis.set_major_locator(LogLocator(subs=places, numticks=12))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(round(value)).replace(".00", "")))
    axes.xaxis.set_minor_formatter(NullFormatter())


def bar_chart(comparison: Comparison, metric: str) -> str:
    """A distance of every entry with its interval, least first; an entry without it says so."""

    def draw(axes: Axes) -> None:
        order = sorted(range(len(comparison.rows)), key=lambda i: -(_or_last(comparison.rows[i].value(metric))))
        for place, index in enumerate(order):
            row = comparison.rows[index]
            value = row.value(metric)
            if value is None or row.measured is None:
                axes.text(0, place, " not measured", va="center", color="#888888", style="italic")
                continue
            found = row.measured.metrics[metric]
            span = None if found.low is None or found.high is None else [[value - found.low], [found.high - value]]
            axes.barh(place, value, xerr=span, color=color(index), height=0.65, capsize=3, ecolor="#333333")
            end = value if found.high is None else found.high
            axes.annotate(f"{value:.4g}", (end, place), xytext=(5, 0), textcoords="offset points", va="center")
        axes.set_ylim(-0.6, len(order) - 0.4)
        axes.set_yticks(range(len(order)), [comparison.rows[i].entry.name for i in order])
        axes.set_xlabel(f"{metric} (less is better)")
        axes.margins(x=0.12)
        axes.grid(visible=False, axis="y")

    return _svg(metric, draw, 6.4, 0.6 + 0.42 * len(comparison.rows))


def cost_bars(comparison: Comparison, value: Callable[[Any], float], title: str, shown: Callable[[float], str]) -> str:
    """A cost of every entry, split by level, the innermost darkest, with its sum: small ones have no bar to be seen."""

    def draw(axes: Axes) -> None:
        rows = list(reversed(list(enumerate(comparison.rows))))
        for place, (index, row) in enumerate(rows):
            start = 0.0
            for depth, level in enumerate(reversed(row.card.levels)):
                size = value(level)
                alpha = max(0.25, 1 - 0.3 * depth)
                axes.barh(place, size, left=start, color=color(index), alpha=alpha, height=0.65, edgecolor="white")
                if size > 0.12 * max(sum(value(part) for part in r.card.levels) for r in comparison.rows):
                    axes.text(start + size / 2, place, level.label, ha="center", va="center", color="white", fontsize=8)
                start += size
            axes.annotate(shown(start), (start, place), xytext=(5, 0), textcoords="offset points", va="center")
        axes.margins(x=0.2)
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.set_yticks(range(len(rows)), [row.entry.name for _, row in rows])
        axes.set_xlabel(title)
        axes.grid(visible=False, axis="y")

    return _svg(title, draw, 6.4, 0.6 + 0.42 * len(comparison.rows))


def training_chart(comparison: Comparison) -> str | None:
    """Held-out loss of the finest level by training compute; None without any curve."""
    if not any(row.curve for row in comparison.rows):
        return None

    def draw(axes: Axes) -> None:
        for index, row in enumerate(comparison.rows):
            if row.curve is not None:
                x, y = zip(*row.curve.points, strict=True)
                style = "-" if len(row.entry.labels) > 1 else "--"
                axes.plot(x, y, style, color=color(index), marker=".", label=f"{row.entry.name} ({row.curve.level})")
        axes.set_yscale("log")
        axes.set_xlabel("training FLOPs spent (forward and backward, all phases)")
        axes.set_ylabel("held-out v loss, finest level")
        axes.legend(fontsize=8, frameon=False)

    return _svg("training", draw, 6.4, 4.2)


def _or_last(value: float | None) -> float:
    return float("inf") if value is None else value
