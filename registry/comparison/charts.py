"""Charts of a comparison as SVG, drawn by matplotlib; an entry has the same color in all of them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from registry.comparison.compare import Comparison, Row
from registry.comparison.curves import Curve
from registry.comparison.drawing import color, few_ticks, log_axis, svg_chart
from registry.evaluation.results import is_distance
from registry.facts import label_order
from specs.printable import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from registry.evaluation.results import Metric

__all__ = ["bar_chart", "color", "cost_bars", "scatter_chart", "training_chart", "training_charts"]

#: Distance of a cost from the end of its bar in points, behind the label of the level.
LABEL = 31
#: Markers of several runs of an entry.
MARKERS = ("o", "s", "^", "D", "v", "P", "X")


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
            axes.annotate(row.name, (costs[-1], found.value), fontsize=9, **place)
        log_axis(axes, costs)
        axes.set_xlabel(x_title)
        axes.set_ylabel(metric)
        axes.margins(x=0.18, y=0.12)

    return svg_chart(f"{x_title} {metric}", draw, 4.2)


def bar_chart(comparison: Comparison, metric: str) -> str:
    """Return a bar chart of a metric with its intervals, the best at the top; missing values are marked."""
    lower = is_distance(metric)

    def draw(axes: Axes) -> None:

        def badness(row: Row) -> float:
            value = row.value(metric)
            return math.inf if value is None else value if lower else -value

        order = sorted(enumerate(comparison.rows), key=lambda item: badness(item[1]), reverse=True)
        for place, (index, row) in enumerate(order):
            found = row.metric(metric)
            if found is None:
                axes.text(0, place, " not measured", va="center", color="#888888", style="italic")
                continue
            style: dict[str, Any] = {"color": color(index), "height": 0.65, "capsize": 3, "ecolor": "#333333"}
            axes.barh(place, found.value, xerr=_errors(found), **style)
            _label_bar(axes, place, found.value if found.high is None else found.high, f"{found.value:.4g}")
        _name_bars(axes, [row.name for _, row in order])
        axes.set_xlabel(f"{metric} ({'lower' if lower else 'higher'} is better)")
        axes.margins(x=0.12)

    return svg_chart(metric, draw, _bars_height(comparison))


def cost_bars(
    comparison: Comparison,
    value: Callable[[Any], float],
    title: str,
    shown: Callable[[float], str],
    ticks: Callable[[float], str] | None = None,
) -> str:
    """Return a bar chart of a cost on a logarithmic axis: one bar per level, the innermost darkest, and their sum.

    Args:
        comparison: Entries to draw.
        value: Function that returns the cost of a level.
        title: Title of the axis.
        shown: Function that formats a cost, which is printed beside its bar.
        ticks: Function that formats a value of the axis. Default: ``shown``.
    """
    groups = [_bars(row, value) for row in comparison.rows]
    count = sum(map(len, groups)) + len(groups)

    def draw(axes: Axes) -> None:
        costs = [cost for group in groups for _, cost, _ in group if cost > 0]
        low = 0.4 * min(costs, default=1.0)
        place, centers = count - 1.0, []
        for index, group in enumerate(groups):
            centers.append(place - (len(group) - 1) / 2)
            for label, cost, alpha in group:
                style: dict[str, Any] = {"color": color(index), "alpha": alpha} if alpha else _outline(index)
                axes.barh(place, max(cost, low) - low, left=low, height=0.8, **style)
                _label_bar(axes, place, max(cost, low), label, color="#667788", fontsize=8)
                _label_bar(axes, place, max(cost, low), shown(cost), LABEL)
                place -= 1
            place -= 1
        log_axis(axes, costs, ticks or shown)
        axes.set_xlim(low, max(costs, default=1.0) * (max(costs, default=1.0) / low) ** 0.35)
        _name_bars(axes, [row.name for row in comparison.rows], centers)
        axes.set_ylim(0.2, count - 0.2)
        axes.set_xlabel(title)

    return svg_chart(title, draw, 0.7 + 0.24 * count)


def _bars(row: Row, value: Callable[[Any], float]) -> list[tuple[str, float, float]]:
    """Return label, cost and opacity of the bars of an entry: its levels, and their sum if there are several."""
    levels = list(reversed(row.card.levels))
    bars = [(level.label, value(level), max(0.35, 1 - 0.25 * depth)) for depth, level in enumerate(levels)]
    total = sum(cost for _, cost, _ in bars)
    return [(bars[0][0], total, 1.0)] if len(bars) == 1 else [*reversed(bars), ("sum", total, 0.0)]


def _outline(index: int) -> dict[str, Any]:
    """Return the style of the bar of a sum."""
    return {"facecolor": "none", "edgecolor": color(index), "linewidth": 1.2}


def training_chart(comparison: Comparison) -> str | None:
    """Return the chart of the finest level of :func:`training_charts`; None if no entry has a curve."""
    return next((chart for _, chart in training_charts(comparison)), None)


def training_charts(comparison: Comparison) -> list[tuple[str, str]]:
    """Return a chart per level of the validation loss over training FLOPs, both on logarithmic axes, with its title.

    Every run is named. The finest level comes first. The list is empty if there are no curves.
    """
    curves = [(index, row, curve) for index, row in enumerate(comparison.rows) for curve in row.curves]
    labels = dict.fromkeys(curve.level for _, _, curve in curves)
    return [
        (f"Validation loss of {label}", _training_chart([each for each in curves if each[2].level == label], label))
        for label in sorted(labels, key=lambda label: (label_order(label), label))
    ]


def _training_chart(curves: Sequence[tuple[int, Row, Curve]], label: str) -> str:
    def draw(axes: Axes) -> None:
        seen: Counter[int] = Counter()
        for index, row, curve in curves:
            x, y = zip(*curve.points, strict=True)
            marker, alpha = MARKERS[seen[index] % len(MARKERS)], max(0.4, 1 - 0.25 * seen[index])
            seen[index] += 1
            style: dict[str, Any] = {"color": color(index), "alpha": alpha, "marker": marker, "markersize": 5}
            # A dollar sign would start a formula.
            run = printable(curve.run).replace("$", r"\$")
            name = f"{row.name}, {run}" if run else row.name
            axes.plot(x, y, "-" if row.nested else "--", label=name, **style)
        values = [value for _, _, curve in curves for _, value in curve.points if value > 0]
        if len(values) == sum(len(curve.points) for _, _, curve in curves):
            axes.set_yscale("log")
            few_ticks(axes.yaxis, values, lambda value: f"{value:.3g}")
        log_axis(axes, [cost for _, _, curve in curves for cost, _ in curve.points])
        axes.set_xlabel("training FLOPs (forward and backward, all phases)")
        axes.set_ylabel(f"validation v loss of {label}")
        axes.legend(fontsize=8, frameon=False)

    return svg_chart(f"training {label}", draw, 4.2)


def _errors(metric: Metric) -> list[list[float]] | None:
    """Return the distances from a value to the ends of its interval, as matplotlib takes them."""
    if metric.low is None or metric.high is None:
        return None
    return [[metric.value - metric.low], [metric.high - metric.value]]


def _bars_height(comparison: Comparison) -> float:
    return 0.6 + 0.42 * len(comparison.rows)


def _label_bar(axes: Axes, place: float, end: float, text: str, offset: float = 5, **style: Any) -> None:
    axes.annotate(text, (end, place), xytext=(offset, 0), textcoords="offset points", va="center", **style)


def _name_bars(axes: Axes, names: Sequence[str], places: Sequence[float] | None = None) -> None:
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.set_yticks(range(len(names)) if places is None else places, names)
    axes.grid(visible=False, axis="y")
