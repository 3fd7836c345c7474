"""Two processes that hold the whole network train as one does, and measure together what it measures."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from builders.checkpoints.tensor_file import read_tensors
from builders.training import loop
from builders.training.json_log import JsonLog
from builders.training.observers import Observers
from builders.training.start import train
from registry.evaluation import features
from registry.evaluation.during_training import DistanceObserver
from specs.recipe import load_recipe
from tests.helpers.launched import ended, records, start
from tests.helpers.measured import extractor

STEPS = [
    "phases.p8=null", "phases.p16.steps=20", "phases.p16.batch={r16: 2, r8: 4}",
    "every={checkpoint: 20, evaluate: 0, samples: 0}", "validation={samples: 9}",
]  # fmt: skip
ADAMW = [*STEPS, "optimizer.options={fused: false}"]
SGD = [*STEPS, "optimizer={name: sgd, learning_rate: 0.05}"]
DISTANCE = ["every.distance=20", "evaluation={samples: 5, num_inference_steps: 2}"]


def alone(folder: Path, changes: list[str]) -> None:
    recipe, log = load_recipe("micro-test", changes), JsonLog()
    distances = [DistanceObserver(report=log.on_distance)] if recipe.every.distance else []
    train(recipe, folder, observer=Observers([log, *distances]))


def worst(one: Path, two: Path) -> float:
    states = [read_tensors(folder / "state.safetensors")[0] for folder in (one, two)]
    names = [name for name in states[0] if name.startswith(("model/", "ema/"))]
    return max((states[0][name] - states[1][name]).abs().max().item() for name in names)


@pytest.mark.slow
def test_both_train_without_blocks_that_one_cannot_compile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "draw_samples", partial(loop.draw_samples, num_inference_steps=2))
    changes = [*SGD, "phases.p16.steps=3", "memory={rows_per_pass: 1}"]
    processes = start({str(tmp_path / "two"): {"changes": [*changes, "compile=true"], "uncompiled": 1}})
    alone(tmp_path / "one", changes)
    found = ended(processes)
    assert [status for status, _ in found] == [0, 0], found
    assert "a block could not be compiled (code.so: file too short)" in found[0][1]
    assert worst(tmp_path / "one", tmp_path / "two") < 1e-6


@pytest.mark.slow
def test_twenty_steps_of_two_processes_equal_those_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "draw_samples", partial(loop.draw_samples, num_inference_steps=2))
    monkeypatch.setattr(features, "open_features", lambda *args, **kwargs: extractor())
    jobs: dict[str, Any] = {"adamw": {"changes": ADAMW, "dtype": "float64"}, "sgd": {"changes": [*SGD, *DISTANCE]}}
    processes = start({str(tmp_path / "two" / name): job for name, job in jobs.items()})
    alone(tmp_path / "one" / "sgd", [*SGD, *DISTANCE])
    torch.set_default_dtype(torch.float64)
    try:
        alone(tmp_path / "one" / "adamw", ADAMW)
    finally:
        torch.set_default_dtype(torch.float32)
    found = ended(processes)
    assert [status for status, _ in found] == [0, 0], found
    for name, most in (("adamw", 1e-9), ("sgd", 1e-6)):
        one, two = tmp_path / "one" / name, tmp_path / "two" / name
        assert worst(one, two) < most
        (mine,), (theirs,) = records(one, "val_v_loss"), records(two, "val_v_loss")
        assert theirs["val_v_loss"] == pytest.approx(mine["val_v_loss"], rel=1e-5)
        grids = [{path.name for path in (folder / "grids").iterdir()} for folder in (one, two)]
        assert grids[0] == grids[1] != set()
    (mine,), (theirs,) = (records(tmp_path / how / "sgd", "distance") for how in ("one", "two"))
    assert theirs["distance"] == pytest.approx(mine["distance"], rel=0.02)
