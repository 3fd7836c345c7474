"""Measures of a run by name: each is there, repeats to the bit, and says what is wrong before anything is trained."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from builders.checkpoints.tensor_file import CheckpointError
from builders.measures.at_states import evenly_spread_states
from builders.training.start import train
from registry.evaluation import features
from registry.measures.runs import check_measures, measure_run
from specs.load import load_entry
from specs.recipe import load_recipe
from specs.schemas.evaluation import EvaluationSpec
from tests.helpers.measured import extractor
from tests.helpers.shards import encode, write_tar

SMALL = ["phases.p8={steps: 2, batch: 2}", "phases.p16={steps: 4, batch: 2}", "validation.samples=2"]
STATES = ["every={checkpoint: 1, evaluate: 0, monitor: 0}", "checkpoints={every: 1, best: 0}"]
EVALUATION = EvaluationSpec(samples=6, sampler="dpm++", num_inference_steps=2)
RATES = {"rates": [1e-6, 1e30], "steps": 4, "warmup": 0}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shard of forty images of noise in ten classes, whose features vary in all directions."""
    generator, members = np.random.default_rng(0), list[tuple[str, bytes]]()
    for index in range(40):
        pixels = generator.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        members.append((f"{index}.png", encode(Image.fromarray(pixels))))
        members.append((f"{index}.json", json.dumps({"category": f"class {index % 10}"}).encode()))
    return write_tar(tmp_path_factory.mktemp("data") / "images.tar", members)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, images: Path, light_measures: None) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    train(load_recipe("micro-test", [*SMALL, *STATES, f"data={images}"]), folder)
    return folder


@pytest.fixture
def measure(run, images, monkeypatch):
    monkeypatch.setattr(features, "open_features", lambda *args, **kwargs: extractor())

    def call(measures, **options):
        return measure_run(run, measures, evaluation=EVALUATION, data=str(images), **options)

    return call


def test_the_clean_error_is_measured_at_all_ratios(measure):
    found = measure({"p1": {"draws": 1}})
    assert list(found) == ["p1", *(f"p1/{ratio}" for ratio in range(-5, 7))]
    assert measure({"p1": {"draws": 1}}) == found
    part = measure({"p1": {"draws": 1, "log_snrs": [-5, -4]}})
    assert part["p1"] == pytest.approx((found["p1/-5"] * found["p1/-4"]) ** 0.5) and part["p1/6"] == found["p1/6"]


def test_samples_are_drawn_once_for_distance_nearest_images_and_picture(measure, tmp_path, monkeypatch):
    from registry.evaluation import evaluate

    drawn = []
    draw = evaluate.draw_levels
    monkeypatch.setattr(evaluate, "draw_levels", lambda *args, **kwargs: drawn.append(args) or draw(*args, **kwargs))
    picture = tmp_path / "samples" / "x.png"
    found = measure({"p2": {"samples": 8}, "nearest": {}}, picture=picture)
    with Image.open(picture) as sheet:
        assert len(drawn) == 1 and sheet.width > 100
    assert list(found) == ["p2", "p2/fd", "p2_details", "nearest", "nearest/held_out", "nearest/close"]
    low, high = found["p2_details"]["interval"]
    assert low <= found["p2"] <= high and found["p2_details"]["protocol"]["samples"] == 8
    assert found["nearest"] > 0 and 0 <= found["nearest/close"] <= 1
    assert found == measure({"p2": {"samples": 8}, "nearest": {}})
    assert measure({"nearest": {}})["nearest"] != found["nearest"]  # of the evaluation's six samples
    json.dumps(found)


def test_gradients_are_measured_at_states_of_all_phases(measure):
    found = measure({"gradients": {"checkpoints": 3, "batches": 2}})
    assert found["gradients"]["steps"] == [2, 4, 6]
    inner, outer, last = found["gradients"]["facts"]
    assert list(inner["norms"]) == ["r8", "total"] and list(outer["norms"]) == ["r16", "r8", "total"]
    assert outer["norms"] != last["norms"] and list(outer["cosines"]) == ["r16 r8"]
    assert measure({"gradients": {"checkpoints": 1, "batches": 2}})["gradients"]["facts"] == [last]
    scales = [each["noise_scales"]["total"] for each in (inner, outer, last)]
    known = sorted(scale for scale in scales if scale is not None)
    assert found.get("noise_scale") == (known[1] if len(known) > 1 else None)


def test_states_are_evenly_spread_and_must_be_enough(run, tmp_path):
    assert [state.progress.steps_done for state in evenly_spread_states(run, 6)] == [1, 2, 3, 4, 5, 6]
    assert [state.progress.steps_done for state in evenly_spread_states(run, 2)] == [3, 6]
    assert [state.progress.phase for state in evenly_spread_states(run, 3)] == ["p8", "p16", "p16"]
    with pytest.raises(CheckpointError, match=r"holds 6 states, fewer than the 7 .* checkpoints.every"):
        evenly_spread_states(run, 7)


def test_the_largest_stable_rate(measure):
    found = measure({"stable_rate": RATES})
    assert found["rates"]["1e+30"] is False
    assert ("stable_rate" in found) == found["rates"].get("1e-06", False)


@pytest.mark.parametrize(
    ("measures", "message"),
    [
        ({"p11": {}}, "no measure is called 'p11'; did you mean 'p1'?"),
        ({"fid": {}}, "no measure is called 'fid'; there are p1, p2, nearest, gradients, stable_rate"),
        ({"p1": {"draw": 8}}, "measures.p1.draw: Extra inputs are not permitted"),
        ({"p1": {"log_snrs": [0, 0.5]}}, "measures.p1.log_snrs: 0.5 is none of the whole numbers from -5 to 6"),
        ({"stable_rate": {}}, "measures.stable_rate.rates: Field required"),
        ({"stable_rate": {"rates": [2.0, 1.0]}}, "measures.stable_rate.rates: rates must ascend"),
    ],
)
def test_measures_are_checked_before_training(measures, message):
    with pytest.raises(ValueError) as caught:
        check_measures(measures)
    assert str(caught.value) == message


def test_entries_that_cannot_be_measured_are_refused():
    graph = load_entry("mdm-micro", overrides=["process.schedule=cosine_logsnr"]).graph
    message = "the schedule of mdm-micro at r16 has no log-SNR 5, 6; name those that all arms have under log_snrs"
    with pytest.raises(ValueError, match=f"^measures.p1: {message}$"):
        check_measures({"p1": {}}, [graph])
    check_measures({"p1": {"log_snrs": [-5, 0, 4]}, "p2": {}, "nearest": {}}, [graph])
    with pytest.raises(ValueError, match=r"^measures.gradients is for images, and mdm-nano-v is an entry of clips$"):
        check_measures({"gradients": {}}, [load_entry("mdm-nano-v").graph])
