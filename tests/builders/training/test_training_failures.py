"""Training that goes wrong: steps that are not finite, and high resolutions that collapse."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from builders.checkpoints.tensor_file import read_tensors
from builders.training.ema import EMA
from builders.training.json_log import JsonLog
from builders.training.loop import Interrupted
from builders.training.monitor import CollapseAlarm, Monitor, bin_names
from builders.training.observers import Observers
from builders.training.start import TrainingError, train
from specs.recipe import Recipe, load_recipe
from tests.helpers.bad_steps import Recorder, first_row_is_nan, spoil

pytestmark = pytest.mark.usefixtures("light_measures")

SMALL = [
    "phases.p8.steps=6", "phases.p8.batch=4", "phases.p16.steps=4", "phases.p16.batch={r16: 2, r8: 4}",
    "every={checkpoint: 2, evaluate: 0, samples: 0, monitor: 2}",
]  # fmt: skip


@pytest.fixture
def recipe() -> Recipe:
    return load_recipe("micro-test", SMALL)


def test_a_bad_step_updates_nothing_and_is_counted(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    updates: list[int] = []
    update = EMA.update
    monkeypatch.setattr(EMA, "update", lambda self, step, *flag: (updates.append(step), update(self, step, *flag)))
    spoil(monkeypatch, lambda step: step in (2, 3, 5), first_row_is_nan)
    seen = Recorder()
    train(recipe, tmp_path, observer=Observers([seen, JsonLog()]))
    assert [report.step for report in seen.steps if report.skipped] == [2, 3, 5]
    assert updates == [0, 3, 5, 0, 1, 2, 3]
    records = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    skipped = [record for record in records if record.get("skipped")]
    assert [record["step"] for record in skipped] == [2, 3, 5] and skipped[0]["loss"] == {"r8": None}
    tensors, _ = read_tensors(tmp_path / "state.safetensors")
    assert all(torch.isfinite(value).all() for value in tensors.values())


def test_after_a_few_bad_steps_training_stops(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Interrupted):
        count = iter(range(10))
        train(recipe, tmp_path, stop=lambda: next(count) == 1)
    before = (tmp_path / "state.safetensors").read_bytes()
    spoil(monkeypatch, lambda step: True, first_row_is_nan)
    message = (
        r"phase p8, step 5: 3 steps in a row were not finite.*"
        r"the loss of level r8 at times t = (0-249|250-499|500-749|750-999).*bad-batch.safetensors.*"
        r"the last good checkpoint is intact"
    )
    # A checkpoint among the bad steps would hold the weights from before them.
    with pytest.raises(TrainingError, match=message):
        train(load_recipe("micro-test", [*SMALL, "every.checkpoint=0"]), tmp_path)
    assert (tmp_path / "state.safetensors").read_bytes() == before
    batch, facts = read_tensors(tmp_path / "bad-batch.safetensors")
    assert facts["phase"] == "p8" and facts["step"] == "5" and len(facts["keys"].splitlines()) == 4
    assert batch["image/r8"].shape == batch["noise/r8"].shape == (4, 3, 8, 8) and batch["t"].shape == (4,)


def test_bad_steps_are_counted_over_an_interruption(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch, lambda step: step > 1, first_row_is_nan)
    with pytest.raises(Interrupted):
        count = iter(range(10))
        train(recipe, tmp_path, stop=lambda: next(count) == 2)
    with pytest.raises(TrainingError, match="phase p8, step 4: 3 steps in a row"):
        train(recipe, tmp_path)


@pytest.mark.parametrize("weight", [math.inf, 3e38])
def test_a_gradient_that_is_not_finite_names_its_level(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weight: float
) -> None:
    """The loss is finite, its gradient is not: a tensor hook changes only the gradient."""

    def how(losses: dict[str, Tensor]) -> None:
        losses["r8"].register_hook(lambda gradient: gradient * weight * 10)

    spoil(monkeypatch, lambda step: True, how)
    with pytest.raises(TrainingError, match=r"phase p8, step 3.*the gradient of level r8 \(its largest loss at times"):
        train(recipe, tmp_path)
    assert "no checkpoint" not in str((tmp_path / "state.safetensors").exists())


def test_monitor_takes_means_by_level_and_noise() -> None:
    monitor = Monitor(("r16", "r8"), 1000)
    assert bin_names(1000) == ["0-249", "250-499", "500-749", "750-999"]
    norms = {"r16": torch.tensor(2.0), "r8": torch.tensor(1.0)}
    t = torch.tensor([0, 999, 250, 249])
    monitor.add({"r16": torch.tensor([1.0, 3.0]), "r8": torch.tensor([1.0, 2.0, 3.0, 4.0])}, t, norms)
    half = Monitor(("r16", "r8"), 1000)
    half.restore(monitor.state())
    for each in (monitor, half):
        each.add({"r16": torch.tensor([5.0, 7.0]), "r8": torch.tensor([1.0, 2.0, 3.0, 4.0])}, t, {"r8": norms["r16"]})
        values = each.read()
        assert values["loss_by_noise/r16/0-249"] == 3 and values["loss_by_noise/r16/750-999"] == 5
        assert values["loss_by_noise/r8/0-249"] == 2.5 and values["loss_by_noise/r8/250-499"] == 3
        assert "loss_by_noise/r16/250-499" not in values and "loss_by_noise/r8/500-749" not in values
        assert values["mean_loss/r16"] == 4 and values["mean_loss/r8"] == 2.5
        assert values["gradient_norm/r16"] == 1 and values["gradient_norm/r8"] == 1.5
        assert each.read() == {}


def test_readings_are_of_the_steps_since_the_last(recipe: Recipe, tmp_path: Path) -> None:
    seen = Recorder()
    train(recipe, tmp_path, observer=seen)
    assert list(seen.readings) == [2, 4, 6, 8, 10]
    mean = sum(report.losses["r8"] for report in seen.steps[2:4]) / 2
    assert seen.readings[4]["mean_loss/r8"] == pytest.approx(mean, rel=1e-5)
    norm = sum(report.gradient_norm for report in seen.steps[2:4]) / 2
    assert seen.readings[4]["gradient_norm/r8"] == pytest.approx(norm, rel=1e-5)
    last = seen.readings[10]
    assert {name for name in last if name.startswith("gradient")} == {"gradient_norm/r16", "gradient_norm/r8"}


def readings(outer: list[float], inner: list[float], norm: list[float] | None = None) -> list[dict[str, float]]:
    norms = norm or [1.0] * len(outer)
    return [
        {"mean_loss/r16": o, "mean_loss/r8": i, "gradient_norm/r16": n, "gradient_norm/r8": 1.0}
        for o, i, n in zip(outer, inner, norms, strict=True)
    ]


FALLING = [0.5 - 0.01 * step for step in range(20)]


@pytest.mark.parametrize(
    ("outer", "norms", "message"),
    [
        (
            [0.5 - 0.02 * k for k in range(8)] + [0.5 + 0.1 * k for k in range(12)],
            None,
            "the loss of r16 rose from 0.36",
        ),
        (FALLING, [1.0] * 10 + [100.0] * 10, "the gradient of r16 exploded, from 1 to 100"),
        (FALLING, [1.0] * 10 + [0.001] * 10, "the gradient of r16 vanished, from 1 to 0.001"),
    ],
)
def test_collapse_of_high_resolution_is_reported(outer: list[float], norms: list[float] | None, message: str) -> None:
    alarm = CollapseAlarm(("r16", "r8"), ("r16", "r8"))
    raised = [alarm.watch(reading) for reading in readings(outer, FALLING, norms)]
    assert [len(each) for each in raised].count(1) == 1 and sum(map(len, raised)) == 1
    text = next(each[0] for each in raised if each)
    assert text.startswith(message) and "Try: a lower learning_rate" in text and "freeze: [r8]" in text
    # The alarm waits for three readings in a row.
    first = 8 if "loss" in message else 10
    assert raised.index([text]) == first + 2


@pytest.mark.parametrize(
    "outer",
    [FALLING, [0.5 + 0.04 * math.sin(9 * k) for k in range(20)], [0.5] * 8 + [0.9, 0.9] + [0.5] * 10],
    ids=["falling", "noisy", "two bad readings"],
)
def test_no_alarm_without_a_collapse(outer: list[float]) -> None:
    alarm = CollapseAlarm(("r16", "r8"), ("r16", "r8"))
    assert not [text for reading in readings(outer, FALLING) for text in alarm.watch(reading)]


def test_no_alarm_where_all_levels_get_worse_or_the_outer_has_no_loss() -> None:
    rising = [0.2 + 0.05 * k for k in range(20)]
    alarm = CollapseAlarm(("r16", "r8"), ("r16", "r8"))
    assert not [text for reading in readings(rising, rising) for text in alarm.watch(reading)]
    # A gradient that was 0 before has not exploded.
    assert not [text for reading in readings(FALLING, FALLING, [0.0] * 8 + [1.0] * 12) for text in alarm.watch(reading)]
    frozen = CollapseAlarm(("r16", "r8"), ("r8",))
    assert not [text for reading in readings(rising, FALLING) for text in frozen.watch(reading)]


def test_alarm_resumes() -> None:
    outer = [0.5 - 0.02 * k for k in range(8)] + [0.5 + 0.1 * k for k in range(12)]
    alarm = CollapseAlarm(("r16", "r8"), ("r16", "r8"))
    raised = []
    for reading in readings(outer, FALLING):
        fresh = CollapseAlarm(("r16", "r8"), ("r16", "r8"))
        fresh.restore(alarm.state())
        alarm = fresh
        raised += alarm.watch(reading)
    assert len(raised) == 1


def test_a_network_that_collapses_raises_the_alarm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The outer level's loss is made to grow while the inner level trains: the alarm is reported and logged."""
    changes = [
        *SMALL, "phases.p8.steps=1", "phases.p16.steps=16", "phases.p16.batch=8", "every.monitor=2",
        "every.checkpoint=0", "schedule.warmup=0",
    ]  # fmt: skip
    count = iter(range(1, 100))

    def how(losses: dict[str, Tensor]) -> None:
        step = next(count)
        for label, value in (("r16", 0.5 if step < 8 else 1 + 0.1 * step), ("r8", 1 / (1 + 0.1 * step))):
            losses[label] = losses[label] / losses[label].detach() * value

    spoil(monkeypatch, lambda step: step > 1, how)
    seen = Recorder()
    train(load_recipe("micro-test", changes), tmp_path, observer=Observers([seen, JsonLog()]))
    assert len(seen.alarms) == 1 and "level r16 is collapsing" in seen.alarms[0]
    assert any("alarm" in json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines())
