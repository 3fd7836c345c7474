"""Errors of devices and of other processes, and how long processes wait for each other."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from builders.training.distributed import Processes
from builders.training.errors import ProcessLost, TrainingError
from builders.training.starting.lost import clear_error, lost_process
from builders.training.starting.patience import JOIN, WAIT, patience
from tests.helpers.recorded import recorded_losses

CLOSED = "[pair.cc:544] Connection closed by peer [127.0.0.1]:4711"
LATE = "[gloo/transport/tcp/unbound_buffer.cc:81] Timed out waiting 2000ms for recv operation to complete"
HERE = Path("runs/mine")


def pair(*, sharded: bool = False) -> Processes:
    """Return the second of two processes, which cannot reach the first."""
    processes = Processes("cpu")
    processes.index, processes.count, processes.main, processes.sharded = 1, 2, False, sharded
    return processes


def test_how_long_processes_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (patience(JOIN), patience(WAIT)) == (600, 14_400)
    monkeypatch.setenv(WAIT, "90")
    assert patience(WAIT) == 90
    monkeypatch.setenv(WAIT, "0")
    with pytest.raises(TrainingError, match="ZOO_WAIT_SECONDS must be a number of seconds up to 86400, not '0'"):
        Processes("cpu")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            RuntimeError(CLOSED),
            r"rank 1 lost another of the 2 processes \(.*closed by peer.*\): it has failed, was killed",
        ),
        (RuntimeError(LATE), "rank 1 waited 90 s in vain .*it hangs or cannot be reached. .*set ZOO_WAIT_SECONDS"),
        (
            RuntimeError("CUDA error: unspecified launch failure\nmore"),
            r"the device of rank 1 failed \(CUDA error: .*e\);",
        ),
        (ProcessLost("rank 1 failed"), "^rank 1 failed;"),
    ],
)
def test_errors_say_how_to_resume(error: RuntimeError, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WAIT, "90")
    found = clear_error(error, (1, 2), HERE)
    assert found is not None
    with pytest.raises(TrainingError, match=message):
        raise found
    assert str(found).endswith("; run the same command again to resume from the last checkpoint in runs/mine")


def test_other_errors_are_left_alone() -> None:
    assert clear_error(RuntimeError("shapes do not fit"), (0, 2), HERE) is None
    assert lost_process(RuntimeError(CLOSED), (0, 1)) is None  # there is no other process


@pytest.mark.parametrize("error", [RuntimeError("CUDA error: x"), MemoryError()])
def test_a_failure_in_step_ends_a_sharded_process(error: Exception) -> None:
    def fail(*_: object) -> None:
        raise error

    processes = pair(sharded=True)
    for call in (lambda: processes.measure(fail), lambda: processes.agree(fail, in_step=True)):
        with pytest.raises(ProcessLost, match=r"rank 1 failed \(.*\) while the other processes waited for its part"):
            call()


@pytest.mark.parametrize("sharded", [False, True])
def test_a_process_that_loses_another_says_so(sharded: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(*_: object) -> None:
        raise RuntimeError(CLOSED)

    monkeypatch.setattr("accelerate.utils.gather_object", closed)
    processes = pair(sharded=sharded)
    calls = [
        lambda: processes.gather(1),
        lambda: processes.agree(lambda: 1),
        lambda: processes.measure(lambda total: total(torch.ones(1))),
    ]
    for call in calls:
        with pytest.raises(ProcessLost, match="rank 1 lost another of the 2 processes"):
            call()


@pytest.mark.parametrize("what", ["validation_losses", "draw_samples"])
def test_a_lost_process_is_no_warning(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(*_: object, **__: object) -> None:
        raise ProcessLost("rank 1 failed")

    monkeypatch.setattr(f"builders.training.loop.{what}", lost)
    monkeypatch.setattr("builders.training.loop.log_snr_errors", lambda *_, **__: {})
    changes = ["phases.p16=null", "phases.p8.steps=1", "phases.p8.batch=2", "validation={samples: 2, draws: 1}"]
    with pytest.raises(TrainingError, match=f"rank 1 failed; run the same command .* in {tmp_path}"):
        recorded_losses(tmp_path, changes)
