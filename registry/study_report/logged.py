"""Results of a study as runs in MLflow, where it has no run of their training, as for those of other machines."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from registry.study_report.dashboard import MEASURE
from registry.study_runs.results import RunKey, RunResult
from registry.tracking.dashboard_view import search_all
from registry.tracking.store import log_metrics, store_lock
from registry.tracking.valid_names import valid_key, valid_text
from specs.schemas.arms import ArmStudy

__all__ = ["log_results", "study_tags"]

#: Value of the tag ``kind`` of a run that was not tracked in training.
KIND = "result"
#: Tag of a run whose result was logged here: the date of the result.
DATE = "result.date"
STATUS = {"finished": "FINISHED", "failed": "FAILED"}


def study_tags(study: ArmStudy, key: RunKey, setting: object, exploratory: bool) -> dict[str, str]:
    """Return the tags that tell a run of a study from all others.

    Args:
        study: The study.
        key: The run.
        setting: Value of the searched setting; None without a search.
        exploratory: Whether the run is exploratory.
    """
    tags: dict[str, Any] = {"study": study.name, "arm": key.arm, "seed": key.seed}
    if setting is not None and study.search is not None:
        tags[study.search.set] = setting
    tags["study.part"] = "main" if key.searched is None else "search"
    tags["exploratory"] = exploratory
    return {name: str(value) for name, value in tags.items()}


def log_results(client: Any, experiment: str, study: ArmStudy, results: Sequence[RunResult]) -> int:
    """Log results that MLflow does not have, with their measures and curves; return their number.

    A run of the same training that has no measures, because it was interrupted, receives them. The run of a result
    that has been made again since is deleted, and the new result has a run of its own.

    Args:
        client: MLflow client of the store.
        experiment: Identifier of the experiment.
        study: The study.
        results: Its results.
    """
    with store_lock(client.tracking_uri):
        runs = list(search_all(client, experiment, f"tags.study = '{study.name}'"))
        missing = []
        for result in results:
            tags = study_tags(study, result.key, result.setting, result.exploratory) | {"hash": result.hash}
            found = [run for run in runs if tags.items() <= run.data.tags.items()]
            if not any(_has(run, result) for run in found):
                older = [run for run in found if run.data.tags.get("kind") == KIND and DATE in run.data.tags]
                for run in older:
                    client.delete_run(run.info.run_id)
                found = [run for run in found if run not in older]
                run_id = found[0].info.run_id if found else _create(client, experiment, result, tags)
                missing.append((run_id, result))
    for run_id, result in missing:
        log_metrics(client, run_id, list(_metrics(result)))
        client.set_tag(run_id, DATE, result.date)
        client.set_terminated(run_id, STATUS[result.status], end_time=_milliseconds(result))
    return len(missing)


def _has(run: Any, result: RunResult) -> bool:
    """Return whether a run in MLflow has a result; those that were logged here name its date."""
    date = run.data.tags.get(DATE)
    if date is not None:
        return bool(date == result.date)
    return run.data.tags.get("kind") != KIND and (
        not result.measures or any(name.startswith(MEASURE) for name in run.data.metrics)
    )


def _create(client: Any, experiment: str, result: RunResult, tags: dict[str, str]) -> str:
    facts = {
        "kind": KIND,
        "entry": result.entry,
        "recipe": result.recipe,
        "registered": result.registered,
        "registered.commit": result.commit,
        "taken_from": result.taken_from,
        "failure": result.failure,
        **result.environment,
    }
    known = {name: valid_text(value) for name, value in (facts | tags).items() if value}
    name, begun = f"{result.study}-{result.key.name}", _milliseconds(result) - round(1000 * result.seconds)
    return str(client.create_run(experiment, start_time=begun, run_name=name, tags=known).info.run_id)


def _metrics(result: RunResult) -> Iterator[Any]:
    """Yield curves and measures under the names that a tracked training and ``send_measures`` give them."""
    from mlflow.entities import Metric

    end = _milliseconds(result)
    for name, curve in result.curves.items():
        for step, seconds, value in zip(curve.steps, curve.seconds, curve.values, strict=True):
            yield Metric(valid_key(name), value, end - round(1000 * (result.seconds - seconds)), step)
    for name, value in result.measures.items():
        yield Metric(valid_key(MEASURE + name), value, end, sum(result.steps.values()))


def _milliseconds(result: RunResult) -> int:
    """Return the end of a run in milliseconds since 1970; now if it is not known."""
    return round(1000 * (datetime.fromisoformat(result.date).timestamp() if result.date else time.time()))
