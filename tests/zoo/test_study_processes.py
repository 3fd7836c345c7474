"""Several processes share the runs of a study."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from builders.training.errors import Interrupted
from registry.study_runs.results import read_results
from tests.helpers.arm_studies import write_study
from tests.helpers.paths import ROOT

COMMAND = ["study", "mini.yaml", "--exploratory", "--no-track", "-q", "--device", "cpu"]


@pytest.mark.parametrize("words", [["--processes", "3"], ["--processes=3"]])
@pytest.mark.parametrize(("code", "wanted"), [(0, 0), (2, 2)])
def test_other_processes_do_the_same_command(cli, monkeypatch, words, code, wanted):
    started = []

    class Process:
        def __init__(self, command, **_):
            started.append(command)

        def wait(self):
            return code

    monkeypatch.setattr("zoo.commands.studying.command.subprocess.Popen", Process)
    monkeypatch.setattr("zoo.commands.studying.command.run_arms", lambda *_: None)
    write_study(Path())
    monkeypatch.setattr(sys, "argv", ["zoo", *COMMAND[:2], *words, *COMMAND[2:]])
    assert cli(*COMMAND[:2], *words, *COMMAND[2:])[0] == wanted
    assert started == [[sys.executable, "-m", "zoo", *COMMAND, "--quiet"]] * 2


def test_a_signal_of_this_process_alone_ends_the_others_too(cli, monkeypatch):
    ended = []

    class Process:
        def __init__(self, command, **_):
            pass

        def terminate(self):
            ended.append(self)

        def wait(self):
            assert self in ended
            return 130

    def interrupted(*_):
        raise Interrupted

    monkeypatch.setattr("zoo.commands.studying.command.subprocess.Popen", Process)
    monkeypatch.setattr("zoo.commands.studying.command.run_arms", interrupted)
    write_study(Path())
    words = [*COMMAND, "--processes", "3"]
    monkeypatch.setattr(sys, "argv", ["zoo", *words])
    code, _, err = cli(*words)
    assert code == 130 and "finished runs have their results" in err and len(ended) == 2


def finish(process):
    process.wait(timeout=600)
    return process.returncode


@pytest.mark.slow
def test_a_killed_process_leaves_its_run_to_another_one(tmp_path):
    write_study(
        tmp_path, ("1e8, tolerance: 0.7", "3e9"), ("checkpoint: 0", "checkpoint: 4"), ("share: 0.4", "share: 1")
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "zoo", *COMMAND]
    options = {"cwd": tmp_path, "env": environment, "stderr": subprocess.DEVNULL}
    first = subprocess.Popen(command, **options)
    runs = tmp_path / "runs/studies/mini.exploratory"
    deadline = time.monotonic() + 300
    while not list(runs.glob("*/state.safetensors")):
        assert first.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    others = [subprocess.Popen(command, **options) for _ in range(2)]
    first.send_signal(signal.SIGKILL)
    finish(first)
    assert [finish(other) for other in others] == [0, 0]
    results = read_results(tmp_path / "results/studies/mini.exploratory")
    assert {each.key.name for each in results} == {"plain-s0", "plain-s1", "fast-s0", "fast-s1"}
    # The resumed run has the numbers of an uninterrupted one.
    options |= {"stdout": subprocess.PIPE, "text": True}
    again = subprocess.run([*command, "--again", "plain-s0"], check=False, **options)
    assert again.returncode == 0 and "to the last digit" in again.stdout
