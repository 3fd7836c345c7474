"""Numbers that are read one step late, as on a GPU: the same training, in the same order, on every stop and failure."""

from __future__ import annotations

import json
import math
from contextlib import contextmanager

import pytest
import torch

from builders.checkpoints.tensor_file import read_tensors
from builders.training import phase as phase_module
from builders.training.batches import make_batch
from builders.training.distributed import Processes
from builders.training.errors import Interrupted, TrainingError
from builders.training.json_log import JsonLog
from builders.training.loop import TrainingLoop
from builders.training.observers import Observers
from builders.training.optimizers import build_optimizer, flags_skip, updating_if
from builders.training.phase import Phase
from builders.training.settings import phase_settings
from builders.training.start import train
from specs.load import load_entry
from specs.recipe import load_recipe
from specs.schemas.recipe import OptimizerSpec
from tests.helpers.bad_steps import Recorder, first_row_is_nan, spoil

pytestmark = pytest.mark.usefixtures("light_measures")

SMALL = [
    "phases.p8.steps=6", "phases.p8.batch=4", "phases.p16.steps=4", "phases.p16.batch={r16: 2, r8: 4}",
    "every={checkpoint: 4, evaluate: 0, samples: 0, monitor: 2}",
]  # fmt: skip


@pytest.fixture
def late(monkeypatch):
    monkeypatch.setattr(phase_module, "late_steps", lambda device: 1)


@pytest.fixture
def calls(monkeypatch):
    """The order in which steps are started, reported and saved."""
    seen = []

    def record(owner, name, text):
        honest = getattr(owner, name)

        def call(self, *args, **options):
            seen.append(text(*args))
            return honest(self, *args, **options)

        monkeypatch.setattr(owner, name, call)

    record(Phase, "start", lambda step, *_: f"start {step}")
    record(Recorder, "on_step", lambda report: f"read {report.phase_step - 1}")
    record(TrainingLoop, "_save", lambda phase: f"save {phase.progress.step}")
    return seen


def run(folder, *changes, **options):
    """Train, and return the tensors of the state, the lines of the log and the reports."""
    seen = Recorder()
    train(load_recipe("micro-test", [*SMALL, *changes]), folder, observer=Observers([seen, JsonLog()]), **options)
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return read_tensors(folder / "state.safetensors")[0], lines, seen


def same(found, wanted):
    """Assert that two runs end in the same state, and log the same numbers of every step to the bit.

    The average of the weights is rounded in another way, so losses of the validation split are close only.
    """
    assert found[0].keys() == wanted[0].keys()
    for name, value in wanted[0].items():
        torch.testing.assert_close(found[0][name], value, rtol=1e-5, atol=1e-6, msg=name)
    found, wanted = ([line for line in run[1] if not any("val" in key for key in line)] for run in (found, wanted))
    assert found == wanted


def test_it_is_the_same_training(tmp_path, monkeypatch, calls):
    at_once = run(tmp_path / "at once", "phases.p16=null")
    assert calls[:6] == ["start 0", "read 0", "start 1", "read 1", "start 2", "read 2"]
    calls.clear()
    monkeypatch.setattr(phase_module, "late_steps", lambda device: 1)
    late = run(tmp_path / "late", "phases.p16=null")
    assert calls == [
        "start 0", "start 1", "read 0", "start 2", "read 1", "start 3", "read 2", "read 3", "save 4",
        "start 4", "start 5", "read 4", "read 5", "save 6",
    ]  # fmt: skip
    same(late, at_once)
    assert all(0 < report.waited <= report.seconds for report in late[2].steps)


def test_bad_steps_update_nothing(tmp_path, monkeypatch):
    found = []
    for lag in (0, 1):
        monkeypatch.setattr(phase_module, "late_steps", lambda device, lag=lag: lag)
        with monkeypatch.context() as spoiled:
            spoil(spoiled, lambda step: step in (1, 3, 4, 6), first_row_is_nan)
            found.append(run(tmp_path / str(lag), "phases.p16=null"))
    same(found[1], found[0])
    assert [report.step for report in found[1][2].steps if report.skipped] == [1, 3, 4, 6]


def test_too_many_bad_steps_end_the_training(tmp_path, monkeypatch, late, calls):
    spoil(monkeypatch, lambda step: step > 1, first_row_is_nan)
    with pytest.raises(TrainingError, match=r"phase p8, step 4: 3 steps in a row.*level r8 at times t"):
        run(tmp_path, "every.checkpoint=0")
    assert calls[-2:] == ["start 4", "read 3"]
    assert read_tensors(tmp_path / "bad-batch.safetensors")[1]["step"] == "4"


def test_a_stop_saves_every_started_step_and_resumes_exactly(tmp_path, late, calls):
    straight = run(tmp_path / "straight")
    calls.clear()
    asked = iter(range(100))
    with pytest.raises(Interrupted):
        run(tmp_path / "parts", stop=lambda: next(asked) == 2)
    assert calls[-4:] == ["start 2", "read 1", "read 2", "save 3"]
    resumed = run(tmp_path / "parts")
    assert all(torch.equal(resumed[0][name], value) for name, value in straight[0].items())
    assert [line for line in resumed[1] if "end" not in line] == [line for line in straight[1] if "end" not in line]


def test_a_stop_of_another_process_is_known_a_step_later(tmp_path, late, calls, monkeypatch):
    monkeypatch.setattr(Processes, "__init__", with_count(Processes.__init__))
    monkeypatch.setattr(Processes, "sum", lambda self, values: values)
    monkeypatch.setattr(Processes, "gather", lambda self, value: [value])
    monkeypatch.setattr(Phase, "means", lambda self, losses: {key: each.mean() for key, each in losses.items()})
    asked = iter(range(100))
    with pytest.raises(Interrupted):
        run(tmp_path, "phases.p16=null", stop=lambda: next(asked) == 1)
    assert calls == ["start 0", "start 1", "read 0", "start 2", "read 1", "read 2", "save 3"]


def with_count(honest):
    """Processes that are said to be two."""

    def init(self, *args, **options):
        honest(self, *args, **options)
        self.count = 2

    return init


def test_a_phase_limited_by_hours_ends(tmp_path, late):
    _, _, seen = run(tmp_path, "phases.p8={train: r8, hours: 1e-9, batch: 4}", "phases.p8.steps=null")
    assert [report.step for report in seen.steps if report.phase == "p8"] == [1, 2]


@contextmanager
def nothing_is_read(monkeypatch):
    """Fail if a number of a tensor is asked for."""
    with monkeypatch.context() as patched:
        for name in ("item", "tolist", "__bool__", "__float__", "__int__", "cpu", "numpy"):

            def fail(self, *_, name=name):
                raise AssertionError(f"{name} makes the host wait for the device")

            patched.setattr(torch.Tensor, name, fail)
        yield


@pytest.mark.parametrize("passes", ["null", "2"])
def test_starting_a_step_reads_nothing(passes, late, monkeypatch):
    recipe = load_recipe("micro-test", [*SMALL, f"memory.rows_per_pass={passes}", "memory.checkpoint=[r8]"])
    phase = Phase(phase_settings(recipe, load_entry("mdm-micro").graph, "p8"), Processes("cpu"))
    drawn = {"image": torch.rand(4, 3, 8, 8), "classes": torch.tensor([0, 1, 2, 1]), "key": list("abcd")}
    batch = make_batch(phase.settings.graph, drawn, torch.tensor([1, 300, 600, 999]), torch.Generator())
    phase.start(0, batch).result()
    with nothing_is_read(monkeypatch):
        # Indices of classes are checked on the CPU only.
        monkeypatch.setattr("builders.networks.nested_unet.check_classes", lambda *_: None)
        started = phase.start(1, batch)
    assert started.result().updated and math.isfinite(started.result().numbers.gradient_norm)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"name": "adamw"}, True),
        ({"name": "adam"}, True),
        ({"name": "sgd"}, False),
        ({"name": "adamw", "options": {"foreach": True}}, False),
        ({"name": "lion"}, False),
    ],
)
def test_which_optimizers_can_skip_by_a_flag(spec, expected):
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = build_optimizer(OptimizerSpec(**spec), [weight], 1e-2)
    assert flags_skip(optimizer) is expected
    if not expected:
        return
    weight.grad = torch.full((3,), math.nan)
    with updating_if(optimizer, torch.tensor(False)):
        optimizer.step()
    assert weight.tolist() == [1, 1, 1]
    weight.grad = torch.ones(3)
    with updating_if(optimizer, torch.tensor(True)):
        optimizer.step()
    other = torch.nn.Parameter(torch.ones(3))
    other.grad = torch.ones(3)
    build_optimizer(OptimizerSpec(**spec), [other], 1e-2).step()
    assert torch.equal(weight, other)
    assert not hasattr(optimizer, "found_inf")
