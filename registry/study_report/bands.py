"""Curves of the arms of a study, several seeds each: values over training, at log-SNRs, and of gradients."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from registry.study_report.analysis import StudyAnalysis
from registry.study_runs.results import Curve, RunResult

__all__ = ["Bundle", "curves_by_arm", "gradients_by_arm", "numbers_by_arm"]

Cost = Literal["flops", "seconds"]

#: A measure at a number, such as p1/-5.
_AT_NUMBER = re.compile(r"(.+)/(-?\d+(?:\.\d+)?)")
#: Numbers that a measure must have for a chart.
FEWEST = 3


@dataclass(frozen=True, slots=True)
class Bundle:
    """Curves of one arm at the same points.

    Attributes:
        x: Points.
        rows: Values of each seed at the points.
    """

    x: tuple[float, ...]
    rows: tuple[tuple[float, ...], ...]


def curves_by_arm(analysis: StudyAnalysis, over: Cost = "flops") -> dict[str, dict[str, Bundle]]:
    """Return the curves of a study by name, then by arm.

    Runs of an arm are measured at the same steps. Of one that was cut short, only the steps that all have are used.

    Args:
        analysis: The study with its results.
        over: Cost at the points: training FLOPs, or seconds of training, the mean over seeds.
    """
    found = {name: {arm.name: _common(arm.curves(name), over) for arm in analysis.arms} for name in analysis.curves}
    return {name: {arm: each for arm, each in arms.items() if each.x} for name, arms in found.items()}


def _common(curves: Sequence[Curve], over: Cost) -> Bundle:
    if not curves:
        return Bundle((), ())
    steps = sorted(set.intersection(*(set(curve.steps) for curve in curves)))
    costs, values = (
        [dict(zip(curve.steps, getattr(curve, name), strict=True)) for curve in curves] for name in (over, "values")
    )
    x = tuple(sum(each[step] for each in costs) / len(costs) for step in steps)
    return Bundle(x, tuple(tuple(each[step] for step in steps) for each in values))


def numbers_by_arm(analysis: StudyAnalysis) -> dict[str, dict[str, Bundle]]:
    """Return measures that are there at three or more numbers, such as p1/-5, by name, then by arm."""
    names: dict[str, list[tuple[float, str]]] = {}
    for measure in analysis.measures:
        match = _AT_NUMBER.fullmatch(measure)
        if match is not None:
            names.setdefault(match[1], []).append((float(match[2]), measure))
    found: dict[str, dict[str, Bundle]] = {}
    for name, pairs in names.items():
        if len(pairs) < FEWEST:
            continue
        x, measures = zip(*sorted(pairs), strict=True)
        for arm in analysis.arms:
            whole = [run for run in arm.runs if all(each in run.measures for each in measures)]
            if whole:
                rows = tuple(tuple(run.measures[each] for each in measures) for run in whole)
                found.setdefault(name, {})[arm.name] = Bundle(x, rows)
    return found


def gradients_by_arm(analysis: StudyAnalysis) -> dict[str, dict[str, Bundle]]:
    """Return noise scales, norms and cosines of gradients by name, then by arm, over steps.

    Of an arm, runs with the steps of its first run are used. A run in which a value is missing at a state, as a noise
    scale below its own noise is, has no curve of it.
    """
    found: dict[str, dict[str, Bundle]] = {}
    for arm in analysis.arms:
        for run in arm.runs:
            for name, steps, values in _gradient_curves(run):
                bundle = found.setdefault(name, {}).setdefault(arm.name, Bundle(steps, ()))
                if bundle.x == steps:
                    found[name][arm.name] = Bundle(steps, (*bundle.rows, values))
    return {name: found[name] for name in sorted(found)}


def _gradient_curves(run: RunResult) -> Iterator[tuple[str, tuple[float, ...], tuple[float, ...]]]:
    """Yield name, steps and values of what the measure ``gradients`` stores; nothing of other JSON."""
    series = _mapping(run.series.get("gradients"))
    steps, facts = series.get("steps"), series.get("facts")
    if not isinstance(steps, list) or not isinstance(facts, list) or len(steps) != len(facts):
        return
    flat = [dict(_numbers(_mapping(each))) for each in facts]
    for name in dict.fromkeys(name for each in flat for name in each):
        values = [each[name] for each in flat if name in each]
        if len(values) == len(steps):
            yield name, tuple(map(float, steps)), tuple(values)


def _numbers(facts: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield the numbers of one state by name."""
    for loss, value in _mapping(facts.get("noise_scales")).items():
        if _is_number(value):
            yield f"gradient noise scale of {loss}", float(value)
    for kind in ("norm", "cosine"):
        for loss, levels in _mapping(facts.get(f"{kind}s")).items():
            for label, value in _mapping(levels).items():
                if _is_number(value):
                    yield f"gradient {kind} of {loss} on {label}", float(value)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
