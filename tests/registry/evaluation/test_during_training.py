"""Distances during training: their steps, their names, and that they are saved with their protocol."""

from __future__ import annotations

import json

import pytest

import zoo
from builders.text import open as text_encoders
from builders.training.observers import Observers, RunInfo
from builders.training.start import train
from registry.evaluation import evaluate as evaluation
from registry.evaluation import features
from registry.evaluation.during_training import DistanceObserver
from registry.evaluation.features import EvaluationError
from registry.evaluation.results import Metric, measurements, save
from specs.recipe import load_recipe
from specs.recipe_identity import fingerprint
from tests.helpers.measured import PROTOCOL, extractor, measurement

pytestmark = pytest.mark.usefixtures("light_measures")


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
    stored = measurements([folder / "evaluations"])
    key = stored[0].conditions
    assert set(first) == {f"{kind}_made_up-{key}/r8{best}" for kind in ("fd", "kid") for best in ("", "_best")}
    assert {name.partition("/")[2].removesuffix("_best") for name in last} == {"r16"}
    assert all(values[f"{name}_best"] <= values[name] for _, values in found for name in values if "_best" not in name)
    assert [m.training_step for m in stored] == [step for step, _ in found]
    assert {m.protocol.resolution for m in stored} == {8, 16}


def test_the_fingerprint_does_not_know_of_it():
    plain = load_recipe("micro-test")
    measured = load_recipe("micro-test", ["every.distance=5", "evaluation.samples=9"])
    assert fingerprint(plain) == fingerprint(measured)


def facts(folder, first_step):
    return RunInfo(load_recipe("micro-test"), zoo.get("mdm-micro").architecture, folder, 14, first_step, "cpu", {})


def test_the_best_survives_a_new_process(tmp_path, monkeypatch):
    monkeypatch.setattr(features, "open_features", lambda *a, **k: extractor())
    values = {"fd_made_up": Metric(value=3.0), "inception_score": Metric(value=5.0)}
    for step, change in ((4, 0.0), (8, 1.0), (12, -2.0)):
        changed = {name: Metric(value=metric.value + change) for name, metric in values.items()}
        made = measurement("mdm-micro", weights=str(step), training_step=step, metrics=changed)
        save(made, tmp_path / "evaluations")
    observer = DistanceObserver()
    observer.on_start(facts(tmp_path, first_step=8))
    # Measurements past the step that training resumes from do not count; for a score, higher is better.
    assert observer.best == {f"fd_made_up-{made.conditions}/r16": 3.0, f"inception_score-{made.conditions}/r16": 6.0}
    observer = DistanceObserver()
    observer.on_start(facts(tmp_path, first_step=0))
    assert observer.best == {}


def test_numbers_of_clips_are_not_booked_under_the_image_level_of_their_side(tmp_path, monkeypatch):
    monkeypatch.setattr(features, "open_features", lambda *a, **k: extractor())
    graph = zoo.get("mdm-nano-v").architecture
    (clips,) = [level for level in graph.levels if level.frames > 1 and f"r{level.resolution}" in graph.labels]
    size = {"resolution": clips.resolution, "frames": clips.frames}
    protocols = [PROTOCOL.model_copy(update=size), PROTOCOL.model_copy(update={"resolution": clips.resolution})]
    for value, protocol in enumerate(protocols, 1):
        metrics = {"fd_made_up": Metric(value=value)}
        save(measurement("mdm-micro", protocol=protocol, training_step=1, metrics=metrics), tmp_path / "evaluations")
    observer = DistanceObserver()
    observer.on_start(RunInfo(load_recipe("micro-test"), graph, tmp_path, 14, 8, "cpu", {}))
    found = {name.partition("/")[2]: value for name, value in observer.best.items()}
    assert found == {clips.label: 1, f"r{clips.resolution}": 2}


@pytest.mark.parametrize("images", [None, "noto-emoji-64"])
def test_levels_are_compared_with_what_their_phase_reads(tmp_path, monkeypatch, images):
    opened = []

    def opening(data, size, split):
        opened.append((data, size.label))
        raise EvaluationError("enough")

    monkeypatch.setattr(features, "open_features", lambda *a, **k: extractor())
    monkeypatch.setattr("registry.evaluation.image_sets.open_reference", opening)
    monkeypatch.setattr("registry.weights.load_weights", lambda *a, **k: (None, {}))
    graph = zoo.get("mdm-nano-v").architecture
    recipe = load_recipe("micro-test").model_copy(update={"data": "moving-emoji", "images": images})
    recipe = recipe.model_copy(update={"every": recipe.every.model_copy(update={"distance": 1})})
    observer = DistanceObserver(warn=lambda text: None)
    observer.on_start(RunInfo(recipe, graph, tmp_path, 14, 0, "cpu", {}))
    for label in (graph.labels[0], graph.labels[-1]):
        observer.on_phase(label, graph.inner(label), 5, 0)
        observer.on_checkpoint(1, tmp_path / "x")
    assert opened == [("moving-emoji", graph.labels[0]), (images or "moving-emoji", graph.labels[-1])]


@pytest.mark.slow
def test_captions_are_read_by_the_encoder_of_the_training(tmp_path, monkeypatch):
    opened, used = [], []
    real = text_encoders.open_text_encoder

    def opening(*args, **kwargs):
        opened.append(real(*args, **kwargs))
        return opened[-1]

    def measuring(*args, encoder, **kwargs):
        used.append(encoder)
        raise EvaluationError("enough")

    monkeypatch.setattr(features, "open_features", lambda *a, **k: extractor())
    monkeypatch.setattr(text_encoders, "open_text_encoder", opening)
    monkeypatch.setattr(evaluation, "evaluate_model", measuring)
    changes = ["entry=mdm-micro.text", "drop={classes: 0, text: 0.1}"]
    recipe = load_recipe("micro-test", [*changes, "every={checkpoint: 2, evaluate: 0, distance: 5}"])
    train(recipe, tmp_path / "run", observer=DistanceObserver(warn=lambda text: None))
    assert len(opened) == 1 and used == [opened[0], opened[0]]


def test_samples_that_cannot_be_measured_do_not_end_training(tmp_path, monkeypatch):
    def collapsed(*args, **kwargs):
        raise EvaluationError("the samples are copies of a few images")

    monkeypatch.setattr(features, "open_features", lambda *a, **k: extractor())
    monkeypatch.setattr(evaluation, "evaluate_model", collapsed)
    said = []
    recipe = load_recipe("micro-test", ["every={checkpoint: 2, evaluate: 0, distance: 5}"])
    assert train(recipe, tmp_path / "run", observer=DistanceObserver(warn=said.append)).is_file()
    assert said[0].startswith("step 6: the distance of r8 was not measured: the samples are copies") and len(said) == 2


def test_features_that_are_not_there_are_said_before_the_first_step(tmp_path):
    recipe = load_recipe("micro-test", ["every.distance=5", "evaluation.features=vgg"])
    with pytest.raises(EvaluationError, match="no features 'vgg'"):
        train(recipe, tmp_path / "run", observer=DistanceObserver())


def test_distances_are_reported_to_the_terminal_and_the_log(tmp_path, monkeypatch):
    from builders.training.json_log import JsonLog

    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(features, "open_features", lambda *a, **k: extractor())
    changes = [
        "every={checkpoint: 2, evaluate: 0, distance: 5}", "evaluation={samples: 8, num_inference_steps: 2}",
        "phases.p16=null", "phases.p8.steps=6",
    ]  # fmt: skip
    parts, log = [], JsonLog()
    report = lambda what, done, total: parts.append((what, done <= total))  # noqa: E731
    observer = DistanceObserver(report=log.on_distance, progress=report)
    train(load_recipe("micro-test", changes), tmp_path / "run", observer=Observers([log, observer]))
    records = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    found = [record for record in records if "distance" in record]
    assert [record["step"] for record in found] == [6]
    assert set(found[0]["distance"]) == {"fd_made_up/r8", "kid_made_up/r8"}
    assert {what for what, _ in parts} == {"sampling", "reference", "features"} and all(fine for _, fine in parts)


def test_features_of_a_reference_are_computed_once_without_a_writable_cache(tmp_path, monkeypatch):
    import torch

    from registry.evaluation.feature_cache import reference_features
    from registry.evaluation.image_sets import ImageSet

    (tmp_path / "file").touch()
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "file"))
    counted, honest = [], evaluation.extract
    monkeypatch.setattr(
        "registry.evaluation.feature_cache.extract", lambda *a, **k: counted.append(1) or honest(*a, **k)
    )
    images = ImageSet("made-up", "", torch.zeros(4, 3, 8, 8, dtype=torch.uint8))
    one, two = (reference_features(images, extractor()) for _ in range(2))
    assert len(counted) == 1 and (one == two).all()


def test_measurements_of_one_second_are_in_the_order_of_their_steps(tmp_path):
    for step in (9, 10, 2):
        save(measurement("mdm-micro", weights=f"{100 - step}", training_step=step), tmp_path)
    assert [each.training_step for each in measurements([tmp_path])] == [2, 9, 10]
