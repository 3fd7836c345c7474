"""A run folder that version 0.1 wrote resumes, and ends in the weights that 0.1 itself ended in."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from builders.checkpoints.tensor_file import read_tensors
from builders.checkpoints.weights import load_checkpoint
from builders.training.json_log import JsonLog
from builders.training.start import train
from specs.recipe import load_recipe
from tests.helpers.paths import GOLDEN

EARLIER = GOLDEN / "run-0.1"


@pytest.fixture(autouse=True)
def zoo_path(monkeypatch):
    monkeypatch.setenv("ZOO_PATH", str(EARLIER / "zoo_path"))


def test_weights_load():
    model, facts = load_checkpoint(EARLIER / "run" / "ema.safetensors")
    assert facts["phase"] == "p16" and facts["step"] == "3" and model.labels == ("r16", "r8")


def test_the_run_resumes(tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(EARLIER / "run", folder)
    train(load_recipe("tiny-run"), folder, observer=JsonLog())
    steps = [json.loads(line).get("step") for line in (folder / "log.jsonl").read_text().splitlines()]
    assert [step for step in steps if step is not None][-1] == 10
    found, _ = read_tensors(folder / "ema.safetensors")
    wanted, _ = read_tensors(EARLIER / "end.safetensors")
    begun, _ = read_tensors(EARLIER / "run" / "ema.safetensors")
    assert set(found) == set(wanted)
    assert any(not torch.equal(begun[name], wanted[name]) for name in wanted)
    for name, tensor in wanted.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-5, atol=1e-6)
