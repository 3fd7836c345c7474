"""The precision of a run is the one it began with."""

from __future__ import annotations

import json

import pytest
import torch

from builders import precision
from builders.checkpoints.header import read_metadata
from builders.checkpoints.tensor_file import read_tensors, write_tensors
from builders.training.engine.precision import run_precision
from builders.training.errors import Interrupted
from builders.training.json_log import JsonLog
from builders.training.observers import Observer, Observers
from builders.training.start import train
from specs.recipe import load_recipe, recipe_graph

pytestmark = pytest.mark.usefixtures("light_measures")

SMALL = ["phases.p8.steps=3", "phases.p8.batch=2", "phases.p16=null", "every={checkpoint: 0, evaluate: 0, samples: 0}"]


@pytest.fixture
def capable(monkeypatch):
    """A processor that computes in bfloat16, which pays for images of 8 pixels."""
    monkeypatch.setattr(precision, "cpu_has_bfloat16", lambda: True)
    monkeypatch.setattr(precision, "CPU_SIDE", 8)


class Precisions(Observer):
    def __init__(self):
        self.found = []

    def on_start(self, run):
        self.found.append(run.precision)


def chosen(folder, *changes):
    recipe = load_recipe("micro-test", changes)
    return run_precision(recipe, recipe_graph(recipe), folder / "state.safetensors", torch.device("cpu"))


def test_most_steps_count(tmp_path, capable, monkeypatch):
    assert chosen(tmp_path) == "bfloat16"
    monkeypatch.setattr(precision, "CPU_SIDE", 16)
    assert chosen(tmp_path) == "float32"  # most steps train 8 pixels
    assert chosen(tmp_path, "phases.p16.steps=9") == "bfloat16"
    assert chosen(tmp_path, "phases.p8=null") == "bfloat16"
    assert chosen(tmp_path, "phases.p8=null", "precision=float32") == "float32"


def test_a_run_keeps_its_precision(tmp_path, capable, monkeypatch):
    seen, asked = Precisions(), iter(range(10))
    observer = Observers([seen, JsonLog()])
    recipe = load_recipe("micro-test", SMALL)
    with pytest.raises(Interrupted):
        train(recipe, tmp_path, observer=observer, stop=lambda: next(asked) == 1)
    assert read_metadata(tmp_path / "state.safetensors")["precision"] == "bfloat16"
    monkeypatch.setattr(precision, "cpu_has_bfloat16", lambda: False)
    train(recipe, tmp_path, observer=observer)
    assert seen.found == ["bfloat16", "bfloat16"]
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["precision"] for line in lines if "val_v_loss" in line] == ["bfloat16"]
    assert read_metadata(tmp_path / "ema.safetensors")["precision"] == "bfloat16"
    train(load_recipe("micro-test", [*SMALL, "phases.p8.steps=1"]), tmp_path / "other", observer=Observers([seen]))
    assert seen.found[-1] == "float32"
    assert "precision" not in read_metadata(tmp_path / "other" / "ema.safetensors")


def test_states_of_earlier_versions_are_of_float32(tmp_path, capable):
    state = tmp_path / "state.safetensors"
    write_tensors(state, {"x": torch.zeros(1)}, {"kind": "state"})
    assert chosen(tmp_path) == "float32"
    tensors, facts = read_tensors(state)
    write_tensors(state, tensors, {**facts, "precision": "bfloat16"})
    assert chosen(tmp_path) == "bfloat16"
    state.write_bytes(b"damaged")
    assert chosen(tmp_path) == "bfloat16"  # reading it reports the damage
