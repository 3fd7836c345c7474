"""Values of metrics in an entry's run and in its LoggedModel, which has one point per metric, step and timestamp."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from registry.tracking.store import log_metrics

__all__ = ["Point", "log_points"]

#: Name, value and step of a metric.
Point = tuple[str, float, int]


def log_points(client: Any, run_id: str, points: Sequence[Point], model: str | None) -> int:
    """Log the points that a run does not have, and return their number.

    Several values of a metric at one step, such as those of two measurements, get different timestamps; MLflow shows
    the last one. A LoggedModel that lacks points of its run, because an earlier recording failed, receives them.

    Args:
        client: MLflow client of the store.
        run_id: Identifier of the run.
        points: Points to log, in their order at each step.
        model: Identifier of the LoggedModel, or None.
    """
    from mlflow.entities import Metric

    wanted = list(dict.fromkeys(points))
    history = {name: client.get_metric_history(run_id, name) for name in dict.fromkeys(name for name, _, _ in wanted)}
    known = {(name, point.value, point.step) for name, found in history.items() for point in found}
    new = [point for point in wanted if point not in known]
    metrics: list[Any] = []
    now = max([int(time.time() * 1000), *(1 + point.timestamp for found in history.values() for point in found)])
    counts: dict[tuple[str, int], int] = {}
    for name, value, step in new + _tied(wanted, new, history):
        place = counts[name, step] = counts.get((name, step), -1) + 1
        metrics.append(Metric(name, value, now + place, step, model_id=model))
    log_metrics(client, run_id, metrics)
    if model is not None:
        logged = [point for found in history.values() for point in found]
        _complete_model(client, run_id, model, [*logged, *metrics])
    return len(new)


def _tied(wanted: Sequence[Point], new: Sequence[Point], history: dict[str, Any]) -> list[Point]:
    """Return the last points of steps whose values have one timestamp: of these MLflow shows the largest."""
    last = {(name, step): value for name, value, step in wanted}
    logged = {(name, step) for name, _, step in new}
    tied = []
    for (name, step), value in last.items():
        found = [(point.timestamp, point.value) for point in history[name] if point.step == step]
        latest = [each for when, each in found if when == max(found)[0]]
        if len(latest) > 1 and (name, step) not in logged:
            tied.append((name, value, step))
    return tied


def _complete_model(client: Any, run_id: str, model: str, logged: Sequence[Any]) -> None:
    """Log the points of a run that its LoggedModel lacks."""
    from mlflow.entities import Metric

    points = [*logged]
    for name in set(client.get_run(run_id).data.metrics) - {point.key for point in logged}:
        points += client.get_metric_history(run_id, name)
    known = {(each.key, each.step, each.timestamp) for each in client.get_logged_model(model).metrics or ()}
    missing = {(point.key, point.step, point.timestamp): point for point in points}
    lacking = [point for key, point in missing.items() if key not in known]
    log_metrics(client, run_id, [Metric(p.key, p.value, p.timestamp, p.step, model_id=model) for p in lacking])
