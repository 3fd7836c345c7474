"""Tracking between processes: several that log to one fresh store, a killed server, a killed training."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.tracking.resend import send_spool
from registry.tracking.store import EXPERIMENT
from tests.helpers.paths import ROOT
from tests.helpers.tracking_stores import METRICS, client, facts, run_of, steps_of

LOG = [sys.executable, "-m", "tests.helpers.tracking_stores"]


def environment(uri: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": uri, "OMP_NUM_THREADS": "1"}


def log_together(folder: Path, processes: int, steps: int) -> None:
    """Start processes that log to a store that does not exist yet, and check that it has every point."""
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    started = [
        subprocess.Popen(
            [*LOG, str(folder / f"run{n}"), str(steps)], cwd=folder, env=environment(uri), stderr=subprocess.PIPE
        )
        for n in range(processes)
    ]
    output = [process.communicate(timeout=550)[1].decode() for process in started]
    assert [process.returncode for process in started] == [0] * processes, output
    assert "Traceback" not in "".join(output) and "does not have" not in "".join(output), output
    assert len(client(uri).search_runs([client(uri).get_experiment_by_name(EXPERIMENT).experiment_id])) == processes
    for n in range(processes):
        run = run_of(uri, folder / f"run{n}")
        assert run.info.status == "FINISHED"
        for name in range(METRICS):
            points = client(uri).get_metric_history(run.info.run_id, f"value/{name}")
            assert sorted((point.step, point.value) for point in points) == [
                (step, step / 7 + name) for step in range(1, steps + 1)
            ]


@pytest.mark.slow
def test_processes_started_together_on_a_fresh_store_lose_nothing(tmp_path: Path) -> None:
    log_together(tmp_path, processes=2, steps=50)


@pytest.mark.slow
def test_eight_processes_of_a_thousand_steps_lose_nothing(tmp_path: Path) -> None:
    log_together(tmp_path, processes=8, steps=1000)


KILLED = """
import os, sys, time
from pathlib import Path
from builders.training.observers import Observer, Observers
from builders.training.start import train
from registry.tracking.observer import MLflowObserver
from specs.recipe import load_recipe

class Kill(Observer):
    def on_step(self, report):
        if report.step == 7:
            time.sleep(1)
            os.kill(os.getpid(), 9)

members = [MLflowObserver(patience=60), *([Kill()] if sys.argv[2] == "kill" else [])]
train(load_recipe("micro-test", [f"data={sys.argv[3]}"]), Path(sys.argv[1]), observer=Observers(members))
"""


@pytest.mark.slow
def test_a_training_that_is_killed_and_resumed_is_one_run_with_each_step_once(
    uri: str, images: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path / "run")]
    codes = [
        subprocess.run([*command, how, str(images)], cwd=tmp_path, env=environment(uri), timeout=120).returncode
        for how in ("kill", "resume")
    ]
    assert codes == [-signal.SIGKILL, 0]
    runs = client(uri).search_runs([client(uri).get_experiment_by_name(EXPERIMENT).experiment_id])
    assert len(runs) == 1 and runs[0].info.status == "FINISHED"
    assert steps_of(uri, runs[0], "loss/r8") == list(range(1, 15))
    assert steps_of(uri, runs[0], "training/phase") == [1, 5, 9]  # the checkpoint was of step 4
    assert send_spool(tmp_path / "run").records == 0


@contextlib.contextmanager
def server(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A tracking server on SQLite, killed with its workers at the end."""
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
        *("--backend-store-uri", f"sqlite:///{folder / 'server.db'}", "--artifacts-destination", str(folder / "files")),
    ]
    settings = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    process = subprocess.Popen(
        command, cwd=folder, env=settings, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(240):
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                break
            assert process.poll() is None, "the server ended"
            time.sleep(0.5)
        else:
            pytest.fail("the server did not start")
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.slow
def test_a_server_killed_in_mid_training_and_started_again_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from registry.tracking.observer import MLflowObserver

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    uri, warnings, step = f"http://127.0.0.1:{port}", [], 0
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setattr("registry.tracking.sender_thread.LAST_PAUSE", 4.0)
    observer = MLflowObserver(warn=warnings.append, patience=120)
    run = tmp_path / "run"

    def log(seconds: float) -> None:
        nonlocal step
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            step += 1
            observer.log_metrics({"value": step / 3}, step)
            time.sleep(0.01)

    with server(tmp_path, port):
        observer.on_start(facts(run))
        for _ in range(60):  # how soon the store is reached depends on the machine
            log(2)
            if (run / "mlflow.json").exists():
                break
        log(2)
        assert (run / "mlflow.json").exists()
    log(15)  # it is killed
    grid = run / "grid.png"
    grid.write_bytes(b"a picture")
    observer.log_artifact(grid, "grids")
    with server(tmp_path, port):
        log(5)
        observer.on_end("finished")
        found = run_of(uri, run)
        assert found.info.status == "FINISHED"
        points = client(uri).get_metric_history(found.info.run_id, "value")
        assert [(point.step, point.value) for point in points] == [(n, n / 3) for n in range(1, step + 1)]
        assert [item.path for item in client(uri).list_artifacts(found.info.run_id, "grids")] == ["grids/grid.png"]
        assert len(client(uri).search_runs([found.info.experiment_id])) == 1
    assert len(warnings) == 1 and "is not available" in warnings[0]
