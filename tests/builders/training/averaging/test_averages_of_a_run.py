"""Averages of a training: what is saved of them, resuming, and weights of another length."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from builders.checkpoints.tensor_file import CheckpointError, read_tensors, write_tensors
from builders.checkpoints.weights import read_weights
from builders.networks.parameters import level_of
from builders.training.averaging.choice import LengthChooser, average_of_length
from builders.training.averaging.files import saved_averages
from builders.training.averaging.power import exponent_of
from builders.training.distributed import Processes
from builders.training.loop import Interrupted, TrainingLoop
from builders.training.phase import Phase
from builders.training.settings import phase_settings
from builders.training.start import train
from specs.load import load_entry
from specs.recipe import load_recipe
from tests.helpers.averaged import grown

LABELS = ("r16", "r8")
SMALL = [
    "phases.p8.steps=6", "phases.p8.batch=2", "phases.p16.steps=6", "phases.p16.batch={r16: 2, r8: 2}",
    "every={checkpoint: 0, evaluate: 0, samples: 0}", "validation={samples: 4, log_snr_draws: 0}",
    "schedule={warmup: 0, decay: constant}",
]  # fmt: skip


def run(folder: Path, *changes: str, **options: Any) -> Path:
    """Train without drawing samples, which takes longer than the training."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainingLoop, "_draw", lambda *_: None)
        train(load_recipe("micro-test", [*SMALL, *changes]), folder, **options)
    return folder


LENGTHS = "averages={lengths: [0.05, 0.1, 0.15], every: 2}"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of both phases that saves averages of three lengths after every second step."""
    return run(tmp_path_factory.mktemp("whole"), LENGTHS)


@pytest.fixture(scope="module")
def other(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run as if it had not saved the averages of length 0.15."""
    folder = tmp_path_factory.mktemp("other")
    for each in saved_averages(whole):
        tensors, facts = read_tensors(each.path)
        kept = {name: value for name, value in tensors.items() if not name.startswith("0.15/")}
        (folder / "averages").mkdir(exist_ok=True)
        write_tensors(folder / "averages" / each.path.name, kept, {**facts, "lengths": "[0.05, 0.1]"})
    shutil.copyfile(whole / "recipe.json", folder / "recipe.json")
    return folder


def weights(folder: Path) -> dict[str, Tensor]:
    return read_tensors(folder / "ema.safetensors")[0]


def last(folder: Path, length: str) -> dict[str, Tensor]:
    tensors, _ = read_tensors(saved_averages(folder)[-1].path)
    return {name.partition("/")[2]: value for name, value in tensors.items() if name.startswith(f"{length}/")}


def test_averages_are_saved_by_level(whole: Path) -> None:
    saved = saved_averages(whole)
    assert [each.path.name for each in saved] == [f"{step:09d}.safetensors" for step in (2, 4, 6, 8, 10, 12)]
    assert [dict(each.ages) for each in saved[2:4]] == [{"r8": 6}, {"r16": 2, "r8": 8}]
    assert saved[0].starts == {"r8": 0} and saved[-1].starts == {"r16": 6, "r8": 0}
    assert saved[0].lengths == (0.05, 0.1, 0.15)


def test_average_of_another_length_is_that_of_a_training_with_it(whole: Path, other: Path) -> None:
    found, wanted = average_of_length(other, 0.15), last(whole, "0.15")
    assert found.tensors.keys() == wanted.keys() == weights(whole).keys()
    assert 0 < max(found.errors.values()) < 0.2
    distance = {"found": 0.0, "ema": 0.0}
    for name, value in wanted.items():
        assert found.tensors[name].dtype == value.dtype
        distance["found"] += float((found.tensors[name] - value).square().sum())
        distance["ema"] += float((weights(whole)[name] - value).square().sum())
    assert 0 < distance["found"] < 0.01 * distance["ema"]


def test_average_of_a_saved_length_is_the_saved_one(whole: Path) -> None:
    found = average_of_length(whole, 0.1)
    for name, value in last(whole, "0.1").items():
        torch.testing.assert_close(found.tensors[name], value, rtol=1e-5, atol=1e-7)
    assert max(found.errors.values()) < 1e-4


def test_weights_of_a_length_are_a_weights_file(whole: Path, tmp_path: Path) -> None:
    average_of_length(whole, 0.08).write(tmp_path / "mine.safetensors")
    tensors, graph, facts = read_weights(tmp_path / "mine.safetensors")
    _, usual, before = read_weights(whole / "ema.safetensors")
    assert graph == usual and facts["average"] == "0.08" and facts["total_steps"] == "12"
    assert all(facts[key] == before[key] for key in ("recipe", "data", "classes", "phase", "step"))
    assert set(tensors) == set(weights(whole))


def test_losses_are_those_of_the_validation_split(whole: Path) -> None:
    chooser = LengthChooser(whole)
    losses = [chooser.losses(average_of_length(whole, length)) for length in (0.05, 0.2)]
    assert all(set(each) == set(LABELS) for each in losses) and losses[0] != losses[1]
    assert losses[0] == chooser.losses(average_of_length(whole, 0.05))


def test_an_interrupted_run_saves_the_same_averages(whole: Path, tmp_path: Path) -> None:
    calls = iter(range(100))
    with pytest.raises(Interrupted):
        run(tmp_path, LENGTHS, stop=lambda: next(calls) == 9)
    # As if the run had been killed after later averages were saved: these steps are taken again.
    later = tmp_path / "averages" / "000000099.safetensors"
    shutil.copyfile(saved_averages(whole)[-1].path, later)
    run(tmp_path, LENGTHS)
    assert not later.exists()
    for one, same in zip(saved_averages(whole), saved_averages(tmp_path), strict=True):
        assert one.path.name == same.path.name and one.ages == same.ages and one.starts == same.starts
        tensors, _ = read_tensors(same.path)
        assert all(torch.equal(value, tensors[name]) for name, value in read_tensors(one.path)[0].items())


def test_levels_that_are_trained_on_continue_their_averages() -> None:
    _, second = grown()
    assert second.power.ages_after(2) == {"r16": 2, "r8": 5} and second.power.starts == {"r16": 3, "r8": 0}
    # The first update of an average sets it to the weights of that step.
    average = second.power.averages[0.1]
    assert average.decay_at(0) == 0 and average.decay_at(4) == pytest.approx(0.8 ** (exponent_of(0.1) + 1))


def test_levels_whose_average_is_not_carried_over_begin_again() -> None:
    _, second = grown("phases.p16.carry={ema: false}")
    assert second.power.ages_after(2) == {"r16": 2, "r8": 2} and second.power.starts == {"r16": 3, "r8": 3}


def test_frozen_levels_keep_the_weights_that_the_others_were_trained_with(tmp_path: Path) -> None:
    _, second = grown("phases.p16.freeze=[r8]", folder=tmp_path)
    saved, found = saved_averages(tmp_path), average_of_length(tmp_path, 0.2)
    assert saved[-1].ages == {"r16": 2, "r8": 0} and found.errors["r8"] == 0 < found.errors["r16"]
    frozen = [name for name in found.tensors if level_of(name, LABELS) == "r8"]
    assert frozen and all(torch.equal(found.tensors[name], second.model.state_dict()[name]) for name in frozen)


def test_runs_without_averages_have_none(tmp_path: Path) -> None:
    recipe = load_recipe("micro-test")
    phase = Phase(phase_settings(recipe, load_entry(recipe.entry).graph, "p8"), Processes("cpu"))
    tensors, facts = phase.tensors()
    assert "power" not in facts and not any(name.startswith("power/") for name in tensors)
    with pytest.raises(CheckpointError, match=r"the run has saved no averages; train with --set averages.every=100"):
        average_of_length(tmp_path, 0.1)


def test_damaged_averages_are_one_message(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(whole / "averages", folder / "averages")
    with pytest.raises(CheckpointError, match=r"recipe.json: no such file; the folder of a run has one"):
        LengthChooser(folder)
    path = saved_averages(folder)[0].path
    shutil.copyfile(whole / "ema.safetensors", path)
    with pytest.raises(CheckpointError, match="these are no averages of a run, or the file is damaged"):
        saved_averages(folder)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="truncated"):
        average_of_length(folder, 0.1)
