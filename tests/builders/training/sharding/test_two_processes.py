"""Two processes that divide the network, against one that holds it whole."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from builders.checkpoints.tensor_file import read_tensors
from builders.training import loop
from builders.training.json_log import JsonLog
from builders.training.loop import Interrupted
from builders.training.start import train
from specs.recipe import load_recipe
from tests.helpers.launched import ended, records, start

pytestmark = pytest.mark.slow

#: Rows that two processes cannot share evenly.
SMALL = [
    "phases.p8.steps=3", "phases.p8.batch=6", "phases.p16.steps=4", "phases.p16.batch={r16: 3, r8: 7}",
    "every={checkpoint: 2, evaluate: 4, samples: 0, monitor: 2}", "validation={samples: 65}",
]  # fmt: skip
SHORT = [*SMALL, "phases.p8=null", "phases.p16.steps=3"]
#: A level without a loss, mirrored images.
ODD = [*SHORT, "phases.p16.loss={levels: {r16: 2, r8: 0}}", "flip=true"]
FROZEN = [*SMALL, "phases.p8.steps=1", "phases.p16.steps=2", "phases.p16.freeze=[r8]"]
TEXT = [*SHORT, "entry=mdm-micro.text", "drop={classes: 0, text: 0.1}", "memory={checkpoint: [r8], rows_per_pass: 2}"]
SHARD = "memory.shard=true"
FSDP = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}


@pytest.fixture(autouse=True, scope="module")
def few_steps() -> Iterator[None]:
    """Draw grids in few steps, as the launched processes do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "draw_samples", partial(loop.draw_samples, num_inference_steps=2))
        yield


def alone(folder: Path, changes: list[str], stop_at: int = 0) -> Path:
    """Train in this process, which is the only one."""
    calls = iter(range(1, 1000))
    train(load_recipe("micro-test", changes), folder, observer=JsonLog(), stop=lambda: next(calls) == stop_at)
    return folder


def assert_same_training(one: Path, other: Path) -> None:
    for key in ("loss", "monitor", "val_v_loss", "val_error_by_log_snr"):
        found = records(other, key)
        assert found
        for mine, theirs in zip(records(one, key), found, strict=True):
            assert_close(mine, theirs)
    weights, others = read_tensors(one / "ema.safetensors")[0], read_tensors(other / "ema.safetensors")[0]
    assert list(weights) == list(others)
    assert all(torch.allclose(weights[name], others[name], atol=1e-4) for name in weights)


def assert_close(one: Any, two: Any) -> None:
    if isinstance(one, dict):
        assert list(one) == list(two)
        for key in one:
            assert_close(one[key], two[key])
    else:
        assert two == pytest.approx(one, rel=1e-5, abs=1e-5) if isinstance(one, float) else one == two


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of one process in ``one``, and of two that divide the network in ``two``."""
    root = tmp_path_factory.mktemp("runs")
    kinds = {"plain": SMALL, "odd": ODD, "frozen": FROZEN, "text": TEXT}
    for name, changes in kinds.items():
        alone(root / "one" / name, changes)
    with pytest.raises(Interrupted):
        alone(root / "two" / "begun-alone", SMALL, stop_at=5)
    jobs: dict[str, Any] = {name: {"changes": changes} for name, changes in kinds.items()}
    jobs |= {"begun-alone": {"changes": SMALL}, "begun-sharded": {"changes": SMALL, "stop": 5}}
    jobs["nan"] = {"changes": [*SMALL, "max_bad_steps=2"], "nan": [1, 2, 5, 6], "fails": True}
    found = ended(start({str(root / "two" / name): job for name, job in jobs.items()}, **FSDP))
    assert [status for status, _ in found] == [0, 0], found
    (root / "errors.txt").write_text("\n".join(text for _, text in found))
    return root


@pytest.mark.parametrize("name", ["plain", "odd", "frozen", "text"])
def test_two_processes_have_the_losses_of_one(name: str, runs: Path) -> None:
    one, two = runs / "one" / name, runs / "two" / name
    assert_same_training(one, two)
    assert sorted(path.name for path in one.iterdir()) == sorted(path.name for path in two.iterdir())
    (shards,) = (two / "checkpoints").glob("shards-*")
    assert len(list(shards.iterdir())) == 2
    sizes = [path.stat().st_size for path in shards.iterdir()]
    assert max(sizes) < 0.6 * (one / "state.safetensors").stat().st_size


def test_a_run_of_one_process_is_resumed_by_two(runs: Path) -> None:
    assert_same_training(runs / "one" / "plain", runs / "two" / "begun-alone")


def test_a_run_of_two_processes_is_resumed_by_one(runs: Path) -> None:
    import zoo

    folder = runs / "two" / "begun-sharded"
    assert len(records(folder, "loss")) == 5 and list((folder / "checkpoints").glob("shards-*"))
    assert list(zoo.sample(folder, n=1, num_inference_steps=2)) == ["r16", "r8"]
    alone(folder, SMALL)
    assert_same_training(runs / "one" / "plain", folder)
    assert not list((folder / "checkpoints").glob("shards-*"))  # no state names them any more


def test_a_step_that_is_not_finite_in_one_process_is_skipped_by_both(runs: Path) -> None:
    folder = runs / "two" / "nan"
    assert [record["step"] for record in records(folder, "skipped")] == [2, 5, 6]
    errors = (runs / "errors.txt").read_text()
    assert errors.count("2 steps in a row were not finite and updated nothing") == 2  # in both processes
    assert alone(folder, [*SMALL, "max_bad_steps=3"])


def killed(folder: Path, changes: list[str], rank: int) -> str:
    """Kill a process of two in its sixth step; return what the other one says."""
    processes: list[subprocess.Popen[str]] = start({str(folder): {"changes": changes, "kill": [rank, 6]}})
    try:
        assert processes[rank].wait(600) == -9
        assert processes[1 - rank].wait(60) == 2
    finally:
        found = ended(processes, 1)
    return found[1 - rank][1]


@pytest.mark.parametrize(("rank", "changes"), [(1, [*SMALL, SHARD]), (0, SMALL)])
def test_a_process_that_is_killed_ends_the_other(rank: int, changes: list[str], tmp_path: Path) -> None:
    text = killed(tmp_path / "run", changes, rank)
    assert f"rank {1 - rank} lost another of the 2 processes" in text
    assert f"resume from the last checkpoint in {tmp_path / 'run'}" in text
    alone(tmp_path / "run", SMALL)
    found = records(tmp_path / "run", "loss")
    assert [record["step"] for record in found] == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize(("rank", "changes"), [(1, [*SMALL, SHARD]), (0, SMALL)])
def test_a_process_that_hangs_ends_the_other(rank: int, changes: list[str], tmp_path: Path) -> None:
    job = {"changes": changes, "hang": [rank, 6]}
    processes = start({str(tmp_path / "run"): job}, ZOO_WAIT_SECONDS="30")
    try:
        assert processes[1 - rank].wait(600) == 2
    finally:
        processes[rank].kill()
        found = ended(processes, 60)
    text = found[1 - rank][1]
    assert f"rank {1 - rank} waited 30 s in vain for another of the 2 processes" in text
    assert "to wait longer, set ZOO_WAIT_SECONDS" in text and "resume from the last checkpoint" in text
    assert "Traceback" not in text


def test_a_device_that_fails_while_measuring_ends_both(tmp_path: Path) -> None:
    found = ended(start({str(tmp_path / "run"): {"changes": [*SHORT, SHARD], "broken": 1}}))
    assert [status for status, _ in found] == [2, 2], found
    assert "rank 1 failed (CUDA error: an illegal memory access was encountered) while the other" in found[1][1]
    assert "rank 0 lost another of the 2 processes" in found[0][1]
    assert "Traceback" not in found[0][1] + found[1][1]
