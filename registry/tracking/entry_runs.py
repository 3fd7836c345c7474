"""Entries in MLflow: one top-level run for each entry and hash, which is found again however often it is tracked.

An edited spec has another hash and gets a run of its own; the run of the old one keeps its numbers. Measured
distances are metrics; numbers that others reported are tags with their source. The distances of one protocol and
sampler have the plain names (``kid_efficientnet_lite0``); the experiment remembers which that is, and those of any
other carry their key, so that no column of a table mixes two.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry.costs.card import Card
from registry.evaluation.results import Measurement, is_distance, keyed
from registry.facts import architecture_params, conditioning_of, cost_metrics, family_of, kind_of
from registry.tracking.metric_names import Columns

if TYPE_CHECKING:
    from registry.entry import Entry

__all__ = ["MODEL_TYPE", "Recorded", "record_entry"]

#: Tag of a run: its LoggedModel.
MODEL_TAG = "logged_model_id"
MODEL_TYPE = "matryoshka-diffusion"
#: Key under which MLflow shows sample grids.
IMAGE_KEY = "samples"

#: Name, value, step.
Point = tuple[str, float, int]


@dataclass(frozen=True, slots=True)
class Recorded:
    """The run of an entry, and what was done: whether it is new, how many points of metrics were added."""

    name: str
    run_id: str
    created: bool
    added: int


def record_entry(client: Any, entry: Entry, latency: Callable[[], float] | None = None) -> Recorded:
    """Find or make the run of an entry, and add what is not there yet.

    Args:
        client: of MLflow, from :func:`registry.tracking.store.connect`.
        entry: what is recorded.
        latency: measures the milliseconds of one forward pass of one sample; called where the run has none.
    """
    from registry.evaluation.results import results_of
    from registry.tracking.store import entry_run, experiment_id, store_lock

    card = entry.card()
    experiment = experiment_id(client)
    with store_lock(client.tracking_uri):
        run_id = entry_run(client, entry.name, card.hash)
        created = run_id is None
        if run_id is None:
            run_id = _create(client, experiment, entry, card)
    # A run that was not finished is one whose recording was cut short, or goes on at this moment elsewhere.
    run = client.get_run(run_id)
    whole = run.info.status == "FINISHED"
    if not whole:
        _describe(client, experiment, run_id, entry, card)
    measured, _ = results_of(entry)
    points: list[Point] = [(name, value, 0) for name, value in cost_metrics(card).items()]
    points += [("latency_ms", latency(), 0)] if latency is not None and "latency_ms" not in run.data.metrics else []
    points += _with_best(_distances(Columns(client, experiment), measured))
    with store_lock(client.tracking_uri):
        added = _add(client, run_id, points)
    if added or not whole:
        for found in measured:
            client.set_tag(run_id, f"protocol.{found.conditions}", found.title)
        if measured:
            _log_grid(client, run_id, measured[-1])
        _artifacts(client, run_id, entry)
        client.set_terminated(run_id, "FINISHED")
    _adopt(client, experiment, run_id, card)
    return Recorded(entry.name, run_id, created, added)


def _adopt(client: Any, experiment: str, run_id: str, card: Card) -> None:
    """Training runs of this entry and hash become children of its run, also those that were there before it."""
    trainings = f"tags.kind = 'training' and tags.entry = '{card.name}' and tags.hash = '{card.hash}'"
    for run in client.search_runs([experiment], trainings, max_results=1000):
        if run.data.tags.get("mlflow.parentRunId") != run_id:
            client.set_tag(run.info.run_id, "mlflow.parentRunId", run_id)


def _distances(columns: Columns, measured: Sequence[Measurement]) -> list[Point]:
    """Metrics of all measurements, plainly named where the conditions are the experiment's: its first."""
    return [
        (columns.name(keyed(name, found.conditions)), metric.value, found.training_step or 0)
        for found in measured
        for name, metric in found.metrics.items()
    ]


def _with_best(points: Sequence[Point]) -> list[Point]:
    """Beside each distance the best so far: MLflow's tables show the last value of a metric."""
    result: list[Point] = []
    best: dict[str, float] = {}
    for name, value, step in sorted(points, key=lambda point: point[2]):
        result.append((name, value, step))
        if is_distance(name):
            best[name] = min(value, best.get(name, value))
            result.append((f"{name}_best", best[name], step))
    return result


def _add(client: Any, run_id: str, points: Sequence[Point]) -> int:
    """Log the points that the run does not have; values that are not finite are never logged."""
    from mlflow.entities import Metric

    names = dict.fromkeys(name for name, _, _ in points)
    known = {name: {(p.value, p.step) for p in client.get_metric_history(run_id, name)} for name in names}
    # A latency is never the same twice; the first stays.
    known_latency = bool(known.get("latency_ms"))
    new = [
        (name, value, step)
        for name, value, step in dict.fromkeys(points)
        if math.isfinite(value) and (value, step) not in known[name] and not (name == "latency_ms" and known_latency)
    ]
    now = int(time.time() * 1000)
    model = client.get_run(run_id).data.tags.get(MODEL_TAG)
    metrics = [Metric(name, value, now, step, model_id=model) for name, value, step in new]
    for start in range(0, len(metrics), 500):
        client.log_batch(run_id, metrics=metrics[start : start + 500], synchronous=True)
    return len(metrics)


def _create(client: Any, experiment: str, entry: Entry, card: Card) -> str:
    from registry.environment import environment
    from registry.evaluation.results import reported

    tags = {
        "kind": "entry",
        "entry": entry.name,
        "output": kind_of(entry.architecture),
        "family": family_of(entry.name),
        "conditioning": conditioning_of(entry.architecture),
        "hash": card.hash,
        "graph_hash": card.graph_hash,
        "mlflow.note.content": entry.summary,
    }
    for item in reported():
        if item.entry == entry.name:
            note = f"; {item.note}" if item.note else ""
            tags[f"{item.metric.lower()}_reported"] = f"{item.value:g} on {item.data} ({item.source}{note})"
    return str(client.create_run(experiment, run_name=entry.name, tags=tags | environment()).info.run_id)


def _describe(client: Any, experiment: str, run_id: str, entry: Entry, card: Card) -> None:
    """Params and LoggedModel of a run; a second time changes nothing."""
    from mlflow.entities import Param

    params = architecture_params(entry.architecture)
    client.log_batch(run_id, params=[Param(key, value) for key, value in params.items()])
    if MODEL_TAG in client.get_run(run_id).data.tags:
        return
    model = client.create_logged_model(
        experiment,
        name=entry.name.replace(".", "-"),
        source_run_id=run_id,
        tags={"entry": entry.name, "hash": card.hash, "graph_hash": card.graph_hash},
        params=params,
        model_type=MODEL_TYPE,
    )
    client.finalize_logged_model(model.model_id, "READY")
    client.set_tag(run_id, MODEL_TAG, model.model_id)


def _artifacts(client: Any, run_id: str, entry: Entry) -> None:
    """Spec, expanded spec, card and picture."""
    from registry.publishing.diagram import draw_entry
    from registry.publishing.model_card import model_card

    for source in entry.sources[:1]:
        client.log_artifact(run_id, str(source), "spec")
    client.log_text(run_id, entry.expanded_yaml(), "expanded.yaml")
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "picture.png"
        draw_entry(entry.architecture, picture)
        client.log_artifact(run_id, str(picture))
        card = Path(folder) / "card.md"
        card.write_text(model_card(entry, picture.name))
        client.log_artifact(run_id, str(card))


def _log_grid(client: Any, run_id: str, found: Measurement) -> None:
    """The picture of samples that stands beside a measurement, where there is one."""
    from PIL import Image

    from registry.evaluation.results import grid_path

    path = grid_path(found)
    if path is not None:
        with Image.open(path) as picture:
            # One step for all: MLflow's image grid shows one step of every run.
            client.log_image(run_id, picture.convert("RGB"), key=IMAGE_KEY, step=0)
