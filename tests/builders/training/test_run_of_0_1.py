"""A run folder that version 0.1 wrote resumes, and ends in the weights that 0.1 itself ended in."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from builders.checkpoints.tensor_file import CheckpointError, read_tensors, write_tensors
from builders.checkpoints.weights import load_checkpoint
from builders.training.json_log import JsonLog
from builders.training.run_folder import RunFolder
from builders.training.start import train
from specs.recipe import load_recipe, load_recipe_and_graph
from tests.helpers.paths import GOLDEN

pytestmark = pytest.mark.usefixtures("light_measures")

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


def test_a_run_with_the_old_sigmoid_resumes_under_its_new_name_alone(tmp_path):
    """Version 0.1 called soft_min_snr "sigmoid": resumed as the present sigmoid, the run would change its loss."""
    folder = tmp_path / "run"
    shutil.copytree(EARLIER / "run", folder)
    tensors, facts = read_tensors(folder / "state.safetensors")
    recipe = json.loads(facts["recipe"])
    recipe["loss"]["weighting"] = "sigmoid"
    write_tensors(folder / "state.safetensors", tensors, facts | {"recipe": json.dumps(recipe), "recipe_hash": ""})

    def state(weighting):
        with RunFolder(folder, *load_recipe_and_graph("tiny-run", [f"loss.weighting={weighting}"])) as run:
            return run.read_state()

    for other in ("sigmoid", "{name: sigmoid, bias: 2}", "{name: soft_min_snr, gamma: 7}", "min_snr"):
        with pytest.raises(CheckpointError, match=r"called soft_min_snr: --set loss\.weighting=soft_min_snr"):
            state(other)
    assert state("soft_min_snr").progress.step == 3
