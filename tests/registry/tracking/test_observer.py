"""Training runs in MLflow: their contents, resuming, and their status at the end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from builders.training.loop import Interrupted
from builders.training.start import TrainingError, train
from registry.tracking.observer import EXPERIMENT, MLflowObserver
from specs.recipe import Recipe
from tests.helpers.tracking_stores import client, run_of

pytestmark = pytest.mark.usefixtures("light_measures")

pytestmark = pytest.mark.usefixtures("quick")


def new_observer(uri: str, monkeypatch: pytest.MonkeyPatch, **options: Any) -> MLflowObserver:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    return MLflowObserver(**options)


def test_a_run_holds_what_it_should(
    recipe: Recipe, shared_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from registry.catalogue import get

    warnings: list[str] = []
    options = {"warn": warnings.append, "tags": {"study": "A", "arm": "flat"}}
    train(recipe, tmp_path, observer=new_observer(shared_uri, monkeypatch, **options))
    assert not warnings
    run, entry = run_of(shared_uri, tmp_path), get("mdm-micro")
    card = entry.card()
    assert run.info.status == "FINISHED" and run.info.run_name == "micro-test"
    assert client(shared_uri).get_experiment(run.info.experiment_id).name == EXPERIMENT
    tags, params, metrics = run.data.tags, run.data.params, run.data.metrics
    assert (tags["entry"], tags["hash"], tags["graph_hash"]) == ("mdm-micro", entry.hash, entry.graph_hash)
    assert (tags["study"], tags["arm"]) == ("A", "flat")
    assert tags["data"] == recipe.data and tags["data_licence"] and tags["version.torch"]
    assert params["optimizer.learning_rate"] == str(recipe.optimizer.learning_rate)
    assert params["phases.p16.train"] == "r16" and params["levels"] == "r16, r8"
    costs = [metrics[f"per_level/{name}.whole"] for name in ("params", "macs", "flops")]
    assert costs == [card.parameters, card.macs, card.flops]
    assert sum(metrics[f"per_level/flops.{label}"] for label in entry.labels) == card.flops
    for label in entry.labels:
        assert 0 < metrics[f"loss/{label}"] < 10
        assert metrics[f"val_v_loss/{label}_best"] <= metrics[f"val_v_loss/{label}"]
    history = client(shared_uri).get_metric_history(run.info.run_id, "loss/r8")
    assert [point.step for point in history] == [1, 2, 3, 4]
    files = {item.path for item in client(shared_uri).list_artifacts(run.info.run_id, "grids")}
    assert files == {"grids/p8-000002.png", "grids/p16-000002.png"}


@pytest.mark.slow
def test_a_resumed_run_is_one_run(
    recipe: Recipe, shared_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Interrupted):
        train(recipe, tmp_path, observer=new_observer(shared_uri, monkeypatch), stop=lambda: True)
    first = run_of(shared_uri, tmp_path)
    assert first.info.status == "KILLED"
    train(recipe, tmp_path, observer=new_observer(shared_uri, monkeypatch))
    second = run_of(shared_uri, tmp_path)
    assert second.info.run_id == first.info.run_id and second.info.status == "FINISHED"
    history = client(shared_uri).get_metric_history(first.info.run_id, "loss/r8")
    assert [point.step for point in history] == [1, 2, 3, 4]


@pytest.mark.slow
def test_a_run_that_breaks_ends_as_failed(
    recipe: Recipe, shared_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from builders.training import phase

    monkeypatch.setattr(phase, "total_loss", lambda losses, loss: sum(losses.values()) * float("inf"))
    with pytest.raises(TrainingError):
        train(recipe, tmp_path, observer=new_observer(shared_uri, monkeypatch))
    assert run_of(shared_uri, tmp_path).info.status == "FAILED"


def test_importing_it_is_cheap() -> None:
    code = "import sys, registry.tracking.observer; print([m for m in ('torch', 'mlflow', 'timm') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
