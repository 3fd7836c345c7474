"""Runs of entries in MLflow: one top-level run per entry and hash, found again whenever the entry is tracked.

A changed spec has another hash and another run; the old run keeps its metrics. Measured distances are metrics; numbers
reported by others are tags with their source. ``registry.tracking.metric_names`` keeps distances that were measured
under different conditions apart.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry.costs.card import Card
from registry.evaluation.results import Measurement, is_distance, keyed
from registry.facts import architecture_params, conditioning_of, cost_metrics, family_of, kind_of
from registry.tracking.metric_names import MetricNames
from registry.tracking.points import Point, log_points
from registry.tracking.store import MODEL_TAG, entry_run, experiment_id, store_lock
from registry.tracking.stores.artifact_places import MovedArtifactsError, check_artifacts
from registry.tracking.stores.experiments import chosen_experiment
from registry.tracking.valid_names import valid_text

if TYPE_CHECKING:
    from registry.entry import Entry

__all__ = ["MODEL_TYPE", "RecordedRun", "record_entry"]

MODEL_TYPE = "matryoshka-diffusion"
#: Key under which MLflow shows sample grids.
IMAGE_KEY = "samples"


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """The run of an entry after it was recorded.

    Attributes:
        name: Name of the entry.
        run_id: Identifier of the run.
        created: Whether the run is new.
        added: Number of metric values that were added.
        warning: What could not be recorded, and what to do, or None.
    """

    name: str
    run_id: str
    created: bool
    added: int
    warning: str | None = None


def record_entry(
    client: Any, entry: Entry, latency: Callable[[], float] | None = None, experiment: str | None = None
) -> RecordedRun:
    """Find or create the run of an entry, and add what it does not have yet.

    Args:
        client: MLflow client from :func:`registry.tracking.store.connect`.
        entry: Entry to record.
        latency: Function that measures the milliseconds of one forward pass of one sample. It is called if the run has
            no latency.
        experiment: Name of the experiment. Default: ``MLFLOW_EXPERIMENT_NAME`` or ``MLFLOW_EXPERIMENT_ID``, or
            ``matryoshka-zoo``.

    Raises:
        StoreError: The variables of MLflow contradict each other or the store.
    """
    from registry.evaluation.results import results_of

    card = entry.card()
    place = experiment_id(client, chosen_experiment(experiment))
    with store_lock(client.tracking_uri):
        found = entry_run(client, entry.name, card.hash, place)
        run_id = found or _create(client, place, entry, card)
    # A run that is not finished belongs to a recording that was interrupted, or that another process is making now.
    run = client.get_run(run_id)
    finished = run.info.status == "FINISHED"
    model = _describe(client, place, run, entry, card)
    measured, _ = results_of(entry)
    points: list[Point] = [(name, value, 0) for name, value in cost_metrics(card).items()]
    if latency is not None and "latency_ms" not in run.data.metrics:
        points.append(("latency_ms", latency(), 0))
    points += _with_best(_distances(MetricNames(client, place), measured))
    with store_lock(client.tracking_uri):
        added = _add(client, run_id, points, model)
    warning = None
    if added or not finished:
        for measurement in measured:
            client.set_tag(run_id, f"protocol.{measurement.conditions}", valid_text(measurement.title))
        try:
            check_artifacts(client, run)
            if measured:
                _log_grid(client, run_id, measured[-1])
            _log_artifacts(client, run_id, entry)
        except MovedArtifactsError as error:
            warning = f"{entry.name}: spec, card and pictures were not logged: {error}"
        client.set_terminated(run_id, "FINISHED")
    _adopt_trainings(client, place, run_id, card)
    return RecordedRun(entry.name, run_id, found is None, added, warning)


def _adopt_trainings(client: Any, experiment: str, run_id: str, card: Card) -> None:
    """Make training runs of this entry and hash children of its run, including those that are older than it."""
    trainings = f"tags.kind = 'training' and tags.entry = '{card.name}' and tags.hash = '{card.hash}'"
    for run in client.search_runs([experiment], trainings, max_results=1000):
        if run.data.tags.get("mlflow.parentRunId") != run_id:
            client.set_tag(run.info.run_id, "mlflow.parentRunId", run_id)


def _distances(names: MetricNames, measured: Sequence[Measurement]) -> list[Point]:
    """Return the metrics of all measurements under their names in the experiment."""
    return [
        (names.name(keyed(name, measurement.conditions)), metric.value, measurement.training_step or 0)
        for measurement in measured
        for name, metric in measurement.metrics.items()
    ]


def _with_best(points: Sequence[Point]) -> list[Point]:
    """Add the best value so far of each distance, because MLflow's tables show the last value of a metric."""
    result: list[Point] = []
    best: dict[str, float] = {}
    for name, value, step in sorted(points, key=lambda point: point[2]):
        result.append((name, value, step))
        if is_distance(name):
            best[name] = min(value, best.get(name, value))
            result.append((f"{name}_best", best[name], step))
    return result


def _add(client: Any, run_id: str, points: Sequence[Point], model: str) -> int:
    """Log the finite values that the run does not have, and return their number."""
    # Two measured latencies are never equal; the run keeps the first.
    timed = bool(client.get_metric_history(run_id, "latency_ms"))
    wanted = [each for each in points if math.isfinite(each[1]) and not (each[0] == "latency_ms" and timed)]
    return log_points(client, run_id, wanted, model)


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
    known = {key: valid_text(value) for key, value in (tags | environment()).items()}
    return str(client.create_run(experiment, run_name=entry.name, tags=known).info.run_id)


def _describe(client: Any, experiment: str, run: Any, entry: Entry, card: Card) -> str:
    """Log the params that a run does not have, and return the identifier of its LoggedModel; create it if needed."""
    from mlflow.entities import LoggedModelStatus, Param

    params = architecture_params(entry.architecture)
    missing = [Param(key, value) for key, value in params.items() if key not in run.data.params]
    if missing and run.info.status != "FINISHED":
        client.log_batch(run.info.run_id, params=missing)
    model = _model(client, run.data.tags.get(MODEL_TAG))
    if model is None:
        model = client.create_logged_model(
            experiment,
            name=entry.name.replace(".", "-"),
            source_run_id=run.info.run_id,
            tags={"entry": entry.name, "hash": card.hash, "graph_hash": card.graph_hash},
            params=params,
            model_type=MODEL_TYPE,
        )
        client.set_tag(run.info.run_id, MODEL_TAG, model.model_id)
    if model.status != LoggedModelStatus.READY:
        client.finalize_logged_model(model.model_id, "READY")
    return str(model.model_id)


def _model(client: Any, model: str | None) -> Any:
    """Return a LoggedModel, or None if the store does not have it (any more)."""
    from mlflow.exceptions import MlflowException

    if model is None:
        return None
    try:
        return client.get_logged_model(model)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def _log_artifacts(client: Any, run_id: str, entry: Entry) -> None:
    """Log spec, expanded spec, model card and diagram."""
    from registry.publishing.diagram import draw_entry
    from registry.publishing.model_card import model_card

    for source in entry.sources[:1]:
        client.log_artifact(run_id, str(source), "spec")
    client.log_text(run_id, entry.expanded_yaml(), "expanded.yaml")
    client.log_text(run_id, model_card(entry, "picture.png"), "card.md")
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "picture.png"
        draw_entry(entry.architecture, picture)
        client.log_artifact(run_id, str(picture))


def _log_grid(client: Any, run_id: str, measurement: Measurement) -> None:
    """Log the grid of samples of a measurement, if there is one."""
    from PIL import Image

    from registry.evaluation.results import grid_path

    path = grid_path(measurement)
    if path is not None:
        with Image.open(path) as picture:
            # The same step for all runs, because MLflow's image chart shows one step of every run.
            client.log_image(run_id, picture.convert("RGB"), key=IMAGE_KEY, step=0)
