"""Charts of a study of arms: contrasts, values of seeds, and curves with bands. An arm has the same color in all."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from registry.comparison.drawing import color, few_ticks, log_axis
from registry.statistics.intervals import Estimate, band
from registry.study_report.analysis import ContrastResult, StudyAnalysis
from registry.study_report.bands import Bundle, curves_by_arm, gradients_by_arm, numbers_by_arm
from registry.study_report.limits import Limits, drawn, limits_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Chart", "charts_of"]

GREY = "#8894a0"
#: Most letters of a label.
LONGEST = 36


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart to be drawn.

    Attributes:
        key: Name of its file.
        title: What it shows.
        draw: Function that draws it.
        height: Height in inches.
    """

    key: str
    title: str
    draw: Callable[[Axes], object]
    height: float = 4.2


def charts_of(analysis: StudyAnalysis) -> list[Chart]:
    """Return all charts of a study that its results have values for."""
    compared = [each for each in analysis.contrasts if each.comparison is not None]
    charts = []
    if any(_percent(each) is not None for each in compared):
        title = "Differences in per cent of the second arm, with 95 % intervals over seeds; primary contrasts are solid"
        height = 0.9 + 0.55 * len(compared)
        charts.append(Chart("contrasts", title, lambda axes: _draw_contrasts(axes, compared), height))
    for measure in dict.fromkeys(each.spec.measure for each in compared):
        title = f"{measure} by arm: every seed, and the mean with its 95 % interval"
        height = 0.9 + 0.42 * len(analysis.arms)
        charts.append(Chart(f"values-{_file_name(measure)}", title, _values_of(analysis, measure), height))
    over = "over training: mean and 95 % band over seeds"
    for name, arms in curves_by_arm(analysis).items():
        flops = "training FLOPs (forward and backward, all phases)"
        charts.append(_bands_chart(analysis, f"curve-{name}", f"{name} {over}", arms, flops, name, by_cost=True))
        by_time, seconds = curves_by_arm(analysis, "seconds")[name], "seconds of training"
        charts.append(_bands_chart(analysis, f"seconds-{name}", f"{name} over seconds", by_time, seconds, name))
    for name, arms in numbers_by_arm(analysis).items():
        title, x_title = f"{name} at each number: mean and 95 % band over seeds", f"number after '{_shown(name)}/'"
        charts.append(
            _bands_chart(analysis, f"numbers-{name}", title, arms, "log-SNR" if name == "p1" else x_title, name)
        )
    for name, arms in gradients_by_arm(analysis).items():
        charts.append(_bands_chart(analysis, name, f"{name} {over}", arms, "steps", name))
    return _with_own_keys(charts)


def _with_own_keys(charts: Sequence[Chart]) -> list[Chart]:
    """Return charts whose keys differ: names of measures that differ in signs only have one file name."""
    seen: Counter[str] = Counter()
    found = []
    for chart in charts:
        seen[chart.key] += 1
        found.append(chart if seen[chart.key] == 1 else replace(chart, key=f"{chart.key}-{seen[chart.key]}"))
    return found


def _file_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9.-]+", "-", name).strip("-.")


def _shown(text: str) -> str:
    """Return a text for matplotlib, in which a dollar sign would start a formula; a long one is cut."""
    return _shortened(text, LONGEST).replace("$", r"\$")


def _percent(contrast: ContrastResult) -> tuple[float, float, float] | None:
    """Return the difference in per cent with its interval, or None."""
    return None if contrast.comparison is None else _interval(contrast.comparison.percent)


def _interval(found: Estimate | None) -> tuple[float, float, float] | None:
    """Return a value and the ends of its interval, which are the value where there is no interval; None for None."""
    if found is None:
        return None
    low, high = (found.value if end is None else end for end in (found.low, found.high))
    return found.value, low, high


def _shortened(text: str, most: int) -> str:
    """Return a text of at most so many letters; the middle of a longer one is left out."""
    half = (most - 1) // 2
    return text if len(text) <= most else f"{text[: most - 1 - half]}…{text[-half:]}"


def _draw_contrasts(axes: Axes, contrasts: Sequence[ContrastResult]) -> None:
    axes.axvline(0, color=GREY, linewidth=1)
    names, intervals = [], [found for each in contrasts if (found := _percent(each)) is not None]
    limits = limits_of([0.0, *(value for value, _, _ in intervals)], [end for _, *ends in intervals for end in ends])
    for place, contrast in enumerate(reversed(contrasts)):
        spec, found = contrast.spec, _percent(contrast)
        names.append("\n".join(map(_shown, (contrast.name, f"{spec.arms[0]} - {spec.arms[1]}", spec.measure))))
        if found is None:
            faint: dict[str, Any] = {"color": GREY, "style": "italic", "fontsize": 8}
            axes.text(0, place, " no per cent: values at or below 0", va="center", **faint)
            continue
        style: dict[str, Any] = {"color": color(0) if spec.primary else GREY, "fmt": "o", "capsize": 3}
        style |= {} if spec.primary else {"markerfacecolor": "white"}
        _draw_interval(axes, found, place, limits, style)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.grid(visible=False, axis="y")
    _set_limits(axes, limits, "difference in per cent (first arm below 0: lower)")


def _draw_interval(
    axes: Axes, found: tuple[float, float, float], place: int, limits: Limits | None, style: Mapping[str, Any]
) -> None:
    """Draw a value with its interval. A line to an infinite end leaves the chart."""
    value, low, high = found[0], drawn(found[1], limits), drawn(found[2], limits)
    axes.errorbar(value, place, xerr=[[value - low], [high - value]], **style)


def _set_limits(axes: Axes, limits: Limits | None, title: str) -> None:
    """Limit the horizontal axis, if intervals have to be cut, and say so in its title."""
    if limits is not None:
        axes.set_xlim(*limits)
    axes.set_xlabel(title + (", long intervals are cut" if limits is not None else ""))


def _values_of(analysis: StudyAnalysis, measure: str) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        names = [arm.name for arm in analysis.arms]
        by_arm = {place: arm.values(measure) for place, arm in enumerate(analysis.arms)}
        intervals = {place: _interval(arm.estimate(measure)) for place, arm in enumerate(analysis.arms)}
        limits = limits_of(
            [value for values in by_arm.values() for value in values.values()],
            [end for found in intervals.values() if found is not None for end in found[1:]],
        )
        for seed in analysis.study.seeds:  # a thin line joins the arms of one seed
            points = [(values[seed], len(names) - 1 - place) for place, values in by_arm.items() if seed in values]
            if len(points) > 1:
                axes.plot(*zip(*points, strict=True), color=GREY, linewidth=0.5, alpha=0.5, zorder=1)
        for place, found in intervals.items():
            height, values = len(names) - 1 - place, list(by_arm[place].values())
            if found is None:
                continue
            axes.plot(values, [height] * len(values), "o", color=color(place), alpha=0.5, markersize=4, zorder=2)
            style: dict[str, Any] = {"fmt": "D", "color": color(place), "capsize": 4, "markersize": 6, "zorder": 3}
            _draw_interval(axes, found, height, limits, style)
        axes.set_yticks(range(len(names)), [_shown(name) for name in reversed(names)])
        axes.set_ylim(-0.6, len(names) - 0.4)
        axes.grid(visible=False, axis="y")
        _set_limits(axes, limits, _shown(measure))

    return draw


def _bands_chart(
    analysis: StudyAnalysis,
    key: str,
    title: str,
    arms: Mapping[str, Bundle],
    x_title: str,
    y_title: str,
    by_cost: bool = False,
) -> Chart:
    """Return a chart with the mean of every arm and its band over seeds."""

    def draw(axes: Axes) -> None:
        values = [value for bundle in arms.values() for row in bundle.rows for value in row]
        limits = (min(values), max(values)) if values else None
        for place, arm in enumerate(analysis.arms):
            if arm.name in arms:
                _draw_band(
                    axes, arms[arm.name], f"{_shown(arm.name)} ({len(arms[arm.name].rows)})", color(place), limits
                )
        if min(values, default=0) > 0:
            axes.set_yscale("log")
            few_ticks(axes.yaxis, values, lambda value: f"{value:.3g}")
        if limits is not None:
            # A band may reach far from what was measured, also below 0.
            low, high = limits
            margin = 0.2 * (high - low) or abs(high) or 1.0
            axes.set_ylim(*((low * 0.95, high * 1.05) if low > 0 else (low - margin, high + margin)))
        if by_cost:
            log_axis(axes, [cost for bundle in arms.values() for cost in bundle.x if cost > 0])
        axes.set_xlabel(x_title)
        axes.set_ylabel(_shown(y_title))
        axes.legend(fontsize=8, frameon=False, title="arm (seeds)", title_fontsize=8)

    return Chart(_file_name(key), title, draw)


def _draw_band(axes: Axes, bundle: Bundle, label: str, tint: str, limits: Limits | None) -> None:
    """Draw the mean of curves and, with several seeds, its band."""
    mean, *ends = band(bundle.rows)
    axes.plot(bundle.x, mean, color=tint, linewidth=1.5, label=label)
    if len(bundle.rows) > 1:
        low, high = ([drawn(float(end), limits) for end in row] for row in ends)
        axes.fill_between(bundle.x, low, high, color=tint, alpha=0.15, linewidth=0)
