"""Distances while training: at which steps, under which names, and that they are kept with their protocol."""

from __future__ import annotations

import pytest

from builders.training import train
from registry import features
from registry.online import DistanceObserver
from registry.results import measurements
from specs.recipe import load_recipe
from tests.measured import extractor


@pytest.fixture
def logged(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(features, "open_features", lambda *a, **k: extractor())
    changes = ["every={checkpoint: 2, evaluate: 0, distance: 5}", "evaluation={samples: 8, num_inference_steps: 2}"]
    recipe = load_recipe("micro-test", changes)
    found = []
    observer = DistanceObserver(lambda values, step: found.append((step, dict(values))))
    train(recipe, tmp_path / "run", observer=observer)
    return found, tmp_path / "run"


def test_steps_names_and_bests(logged):
    found, folder = logged
    # Checkpoints at 2, 4, 6, 8 of the first phase and 10, 12, 14 of the second; due from 5 on, every 5.
    assert [step for step, _ in found] == [6, 10]
    first, last = found[0][1], found[-1][1]
    assert set(first) == {f"{kind}_made_up/r8{best}" for kind in ("fd", "kid") for best in ("", "_best")}
    assert {name.partition("/")[2].removesuffix("_best") for name in last} == {"r16"}
    assert all(values[f"{name}_best"] <= values[name] for _, values in found for name in values if "_best" not in name)
    stored = measurements([folder / "evaluations"])
    assert [m.training_step for m in stored] == [step for step, _ in found]
    assert {m.protocol.resolution for m in stored} == {8, 16}


def test_the_fingerprint_does_not_know_of_it():
    plain = load_recipe("micro-test")
    measured = load_recipe("micro-test", ["every.distance=5", "evaluation.samples=9"])
    assert plain.fingerprint() == measured.fingerprint()
