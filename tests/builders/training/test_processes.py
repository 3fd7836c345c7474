"""Training with several processes gives the results of one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from builders.checkpoints.tensor_file import read_tensors
from builders.training.distributed import Processes
from builders.training.errors import TrainingError
from builders.training.json_log import JsonLog
from builders.training.loop import Interrupted
from builders.training.start import train
from builders.training.starting.meeting import Meeting
from specs.recipe import load_recipe
from tests.helpers.paths import ROOT

SMALL = [
    "phases.p8.steps=4", "phases.p8.batch=6", "phases.p16.steps=4", "phases.p16.batch={r16: 3, r8: 7}",
    "every={checkpoint: 3, evaluate: 0, samples: 0, monitor: 2}",
]  # fmt: skip
#: Rows that the processes cannot share evenly, levels without a loss, frozen levels, mirrored images.
ODD = [*SMALL, "phases.p16.loss={levels: {r16: 2, r8: 0}}", "flip=true", "workers=1"]
FROZEN = [*SMALL, "phases.p16.freeze=[r8]", "phases.p8.steps=1"]
SCRIPT = """
import json, sys
from builders.training.json_log import JsonLog
from builders.training.start import train
from builders.training.starting.meeting import Meeting
from specs.recipe import load_recipe
for folder, changes in json.loads(sys.argv[1]).items():
    train(load_recipe("micro-test", changes), folder, observer=JsonLog())
"""


def launch(jobs: dict[str, list[str]], processes: int, folder: Path) -> subprocess.CompletedProcess[str]:
    script = folder / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command += [str(script), json.dumps(jobs)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


def records(folder: Path, key: str) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [record for record in lines if key in record]


def assert_close(one: object, two: object) -> None:
    if isinstance(one, dict):
        assert isinstance(two, dict) and list(one) == list(two)
        for key in one:
            assert_close(one[key], two[key])
    else:
        assert one == pytest.approx(two, rel=1e-4, abs=1e-4) if isinstance(one, float) else one == two


@pytest.mark.slow
def test_two_processes_give_the_losses_of_one(tmp_path: Path) -> None:
    jobs = {"plain": SMALL, "odd": ODD, "frozen": FROZEN, "begun": SMALL}
    last = {str(tmp_path / "two" / "last"): [*SMALL, "channels_last=true"]}
    for name, changes in jobs.items():
        (tmp_path / "one" / name).mkdir(parents=True)
        if name != "begun":
            train(load_recipe("micro-test", changes), tmp_path / "one" / name, observer=JsonLog())
    with pytest.raises(Interrupted):
        count = iter(range(10))
        train(
            load_recipe("micro-test", SMALL),
            tmp_path / "two" / "begun",
            observer=JsonLog(),
            stop=lambda: next(count) == 4,
        )
    done = launch({str(tmp_path / "two" / name): changes for name, changes in jobs.items()} | last, 2, tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    # A run of one process is resumed by two.
    pairs = [("plain", "plain"), ("odd", "odd"), ("frozen", "frozen"), ("plain", "begun"), ("plain", "last")]
    for first, second in pairs:
        one, two = tmp_path / "one" / first, tmp_path / "two" / second
        for key in ("loss", "monitor", "val_v_loss"):
            assert len(records(one, key)) > 0
            for mine, theirs in zip(records(one, key), records(two, key), strict=True):
                assert_close(mine, theirs)
        assert sorted(path.name for path in one.iterdir()) == sorted(path.name for path in two.iterdir())
        weights, others = read_tensors(one / "ema.safetensors")[0], read_tensors(two / "ema.safetensors")[0]
        assert all(torch.allclose(weights[name], others[name], atol=1e-4) for name in weights)


@pytest.mark.slow
def test_too_few_rows_for_the_processes(tmp_path: Path) -> None:
    done = launch({str(tmp_path / "run"): [*SMALL, "phases.p16.batch.r16=1"]}, 2, tmp_path)
    assert done.returncode != 0
    assert "phase p16 has a level with 1 rows, fewer than 2 processes" in done.stderr


def test_one_process_needs_no_launcher() -> None:
    processes = Processes("cpu")
    assert (processes.index, processes.count, processes.main, processes.precision) == (0, 1, True, "float32")
    assert processes.gather("x") == ["x"] and processes.sum(torch.tensor([2.0])).item() == 2
    # Another run in the same process may have another precision.
    assert Processes("cpu", "bfloat16").precision == "bfloat16"
    with pytest.raises(TrainingError, match="float16 needs a GPU"):
        Processes("cpu", "float16")


@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_does_not_come_is_reported(rank: int, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    values = {"RANK": rank, "WORLD_SIZE": 2, "LOCAL_RANK": 0, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    for name, value in (values | {"ZOO_JOIN_SECONDS": 1}).items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.delenv("TORCHELASTIC_USE_AGENT_STORE", raising=False)
    with pytest.raises(TrainingError, match=r"to wait longer than 1 s, set ZOO_JOIN_SECONDS"):
        Processes("cpu")


def test_a_process_that_fails_after_the_start_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch.distributed import HashStore

    store = HashStore()
    Meeting(store, 1, 3, 0.2)._store.set("zoo/0/ready/1", "here")
    with pytest.raises(TrainingError, match=r"rank 0 waited 0 s in vain for rank 2 of 3 processes, which has perhaps"):
        Meeting(store, 0, 3, 0.2).join("ready")
    store.set("zoo/0/ready/2", "here")
    Meeting(store, 0, 3, 0.2).join("ready")
    monkeypatch.setenv("ZOO_JOIN_SECONDS", "soon")
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "0")
    with pytest.raises(TrainingError, match="ZOO_JOIN_SECONDS must be a number of seconds up to 86400, not 'soon'"):
        Meeting.of_launcher()
