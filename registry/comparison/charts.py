"""Charts of a comparison as SVG, drawn by matplotlib; an entry has the same color in all of them."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from registry.comparison.compare import Comparison, Row
from registry.costs.units import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from registry.evaluation.results import Metric

__all__ = ["bar_chart", "color", "cost_bars", "scatter_chart", "training_chart"]

COLORS = ("#1f6fb4", "#c8102e", "#2a8f4e", "#a65e00", "#7b3fa0", "#0c8c96", "#b0487a", "#5b6770", "#8a8d00", "#d9541e")


def color(index: int) -> str:
    """Return the color of an entry by its place in the comparison."""
    return COLORS[index % len(COLORS)]


def scatter_chart(comparison: Comparison, x: Callable[[Row], float], x_title: str, metric: str) -> str:
    """Return a chart of a distance, with its 95 % interval, over a cost on a logarithmic axis.

    Args:
        comparison: Entries to draw. Those without the metric are left out.
        x: Function that returns the cost of an entry.
        x_title: Title of the axis of the cost.
        metric: Name of the distance.
    """

    def draw(axes: Axes) -> None:
        costs = []
        for index, row in enumerate(comparison.rows):
            found = row.metric(metric)
            if found is None:
                continue
            costs.append(x(row))
            style: dict[str, Any] = {"fmt": "o" if row.nested else "s", "capsize": 3, "markersize": 8}
            axes.errorbar(costs[-1], found.value, yerr=_errors(found), color=color(index), **style)
            place: dict[str, Any] = {"xytext": (8, 5), "textcoords": "offset points"}
            axes.annotate(row.entry.name, (costs[-1], found.value), fontsize=9, **place)
        _log_axis(axes, costs)
        axes.set_xlabel(x_title)
        axes.set_ylabel(metric)
        axes.margins(x=0.18, y=0.12)

    return _svg(f"{x_title} {metric}", draw, 4.2)


def bar_chart(comparison: Comparison, metric: str) -> str:
    """Return a bar chart of a distance with its intervals, the lowest at the top; missing values are marked."""

    def draw(axes: Axes) -> None:
        order = list(enumerate(comparison.rows))
        order.sort(key=lambda item: math.inf if (value := item[1].value(metric)) is None else value, reverse=True)
        for place, (index, row) in enumerate(order):
            found = row.metric(metric)
            if found is None:
                axes.text(0, place, " not measured", va="center", color="#888888", style="italic")
                continue
            style: dict[str, Any] = {"color": color(index), "height": 0.65, "capsize": 3, "ecolor": "#333333"}
            axes.barh(place, found.value, xerr=_errors(found), **style)
            _label_bar(axes, place, found.value if found.high is None else found.high, f"{found.value:.4g}")
        _name_bars(axes, [row.entry.name for _, row in order])
        axes.set_xlabel(f"{metric} (lower is better)")
        axes.margins(x=0.12)

    return _svg(metric, draw, _bars_height(comparison))


def cost_bars(comparison: Comparison, value: Callable[[Any], float], title: str, shown: Callable[[float], str]) -> str:
    """Return a bar chart of a cost, stacked by level with the innermost level darkest.

    Args:
        comparison: Entries to draw.
        value: Function that returns the cost of a level.
        title: Title of the axis.
        shown: Function that formats the total of an entry, which is printed beside its bar.
    """

    def draw(axes: Axes) -> None:
        order = list(reversed(list(enumerate(comparison.rows))))
        largest = max(sum(map(value, row.card.levels)) for row in comparison.rows)
        for place, (index, row) in enumerate(order):
            start = 0.0
            for depth, level in enumerate(reversed(row.card.levels)):
                size = value(level)
                style: dict[str, Any] = {"color": color(index), "alpha": max(0.25, 1 - 0.3 * depth), "height": 0.65}
                axes.barh(place, size, left=start, edgecolor="white", **style)
                if size > 0.12 * largest:
                    axes.text(start + size / 2, place, level.label, ha="center", va="center", color="white", fontsize=8)
                start += size
            _label_bar(axes, place, start, shown(start))
        axes.margins(x=0.2)
        _name_bars(axes, [row.entry.name for _, row in order])
        axes.set_xlabel(title)

    return _svg(title, draw, _bars_height(comparison))


def training_chart(comparison: Comparison) -> str | None:
    """Return a chart of the validation loss of the finest level over training FLOPs; None if no entry has a curve."""
    if not any(row.curve for row in comparison.rows):
        return None

    def draw(axes: Axes) -> None:
        for index, row in enumerate(comparison.rows):
            if row.curve is not None:
                x, y = zip(*row.curve.points, strict=True)
                label = f"{row.entry.name} ({row.curve.level})"
                axes.plot(x, y, "-" if row.nested else "--", color=color(index), marker=".", label=label)
        axes.set_yscale("log")
        axes.set_xlabel("training FLOPs (forward and backward, all phases)")
        axes.set_ylabel("validation v loss, finest level")
        axes.legend(fontsize=8, frameon=False)

    return _svg("training", draw, 4.2)


def _svg(title: str, draw: Callable[[Axes], object], height: float) -> str:
    """Return a chart as an ``<svg>`` element.

    Args:
        title: Text that no other chart of a page has.
        draw: Function that draws the chart.
        height: Height in inches.
    """
    import matplotlib
    from matplotlib.figure import Figure

    # With the salt, charts in one page have different ids, and equal charts have equal ones.
    with matplotlib.rc_context(
        {"svg.hashsalt": title, "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 10}
    ):
        figure = Figure(figsize=(6.4, height), layout="constrained")
        axes = figure.subplots()
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        axes.grid(alpha=0.25, linewidth=0.6)
        axes.set_axisbelow(True)
        draw(axes)
        text = io.StringIO()
        # Without a date, equal charts are equal files.
        figure.savefig(text, format="svg", metadata={"Date": None})
    svg = text.getvalue()
    return svg[svg.index("<svg") :]


def _errors(metric: Metric) -> list[list[float]] | None:
    """Return the distances from a value to the ends of its interval, as matplotlib takes them."""
    if metric.low is None or metric.high is None:
        return None
    return [[metric.value - metric.low], [metric.high - metric.value]]


def _log_axis(axes: Axes, values: Sequence[float]) -> None:
    """Make the x axis logarithmic, with few enough labels to be readable: ``20 M``."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_xscale("log")
    decades = math.log10(max(values) / min(values)) if values and min(values) > 0 else 0.0
    places = (1, 2, 3, 4, 5, 6, 8) if decades < 0.5 else (1, 2, 5) if decades < 1.5 else (1, 3) if decades < 3 else (1,)
    axes.xaxis.set_major_locator(LogLocator(subs=places, numticks=12))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(round(value)).replace(".00", "")))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _bars_height(comparison: Comparison) -> float:
    return 0.6 + 0.42 * len(comparison.rows)


def _label_bar(axes: Axes, place: int, end: float, text: str) -> None:
    axes.annotate(text, (end, place), xytext=(5, 0), textcoords="offset points", va="center")


def _name_bars(axes: Axes, names: Sequence[str]) -> None:
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.set_yticks(range(len(names)), names)
    axes.grid(visible=False, axis="y")
