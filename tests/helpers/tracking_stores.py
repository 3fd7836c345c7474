"""Runs that are logged without training, and what a store has of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from builders.training.observers import RunInfo
from specs.load import load_entry
from specs.recipe import load_recipe

METRICS = 4


def facts(folder: Path, first_step: int = 0) -> RunInfo:
    """A run of micro-test, for an observer."""
    recipe = load_recipe("micro-test")
    folder.mkdir(parents=True, exist_ok=True)
    data = {"name": recipe.data, "licence": "Apache-2.0"}
    return RunInfo(recipe, load_entry(recipe.entry).graph, folder, 14, first_step, "cpu", data)


def client(uri: str) -> Any:
    """A client of a store."""
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri=uri)


def run_of(uri: str, folder: Path) -> Any:
    """The MLflow run of a folder."""
    return client(uri).get_run(json.loads((folder / "mlflow.json").read_text())["run_id"])


def steps_of(uri: str, run: Any, metric: str) -> list[int]:
    """The steps of a metric's history, in the order of the store."""
    return [point.step for point in client(uri).get_metric_history(run.info.run_id, metric)]


def log_many(folder: Path, steps: int) -> None:
    """Log ``METRICS`` metrics at each of ``steps`` steps, as training does; run in a separate process."""
    from registry.tracking.observer import MLflowObserver

    observer = MLflowObserver(patience=300)
    observer.on_start(facts(folder))
    for step in range(1, steps + 1):
        observer.log_metrics({f"value/{name}": step / 7 + name for name in range(METRICS)}, step)
    observer.on_end("finished")


if __name__ == "__main__":
    import sys

    log_many(Path(sys.argv[1]), int(sys.argv[2]))
