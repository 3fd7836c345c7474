"""Several processes share the runs of a study."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import ClassVar

import pytest

from builders.training.errors import Interrupted
from registry.study_runs.results import read_results
from tests.helpers.arm_studies import write_study
from tests.helpers.paths import ROOT

COMMAND = ["study", "mini.yaml", "--exploratory", "--no-track", "-q", "--device", "cpu"]


class Process:
    """A process that was started: its command, and the codes or errors of its waits."""

    started: ClassVar[list[Process]] = []

    def __init__(self, command, **_):
        self.command, self.ended, self.waits = command, False, list(self.codes)
        self.started.append(self)

    def terminate(self):
        self.ended = True

    def wait(self):
        code = self.waits.pop(0) if len(self.waits) > 1 else self.waits[0]
        if isinstance(code, type):
            raise code
        return code


@pytest.fixture
def shared(cli, monkeypatch):
    """Call ``zoo study`` with other processes that end with these codes: exit code, errors, processes, runs."""

    def call(*options: str, codes=(0,), run=lambda *_: None):
        runs = []
        kind = type("Kind", (Process,), {"started": [], "codes": codes})
        monkeypatch.setattr("zoo.commands.studying.processes.subprocess.Popen", kind)
        monkeypatch.setattr("zoo.commands.studying.command.run_arms", lambda *_: (runs.append(1), run(*_)))
        write_study(Path())
        words = [*COMMAND[:2], *options, *COMMAND[2:]]
        monkeypatch.setattr(sys, "argv", ["zoo", *words])
        code, _, errors = cli(*words)
        return code, errors, kind.started, len(runs)

    return call


@pytest.mark.parametrize("options", [["--processes", "3"], ["--processes=3"], ["--processes", "9", "--processes=3"]])
def test_other_processes_do_the_same_command(shared, options):
    code, errors, started, runs = shared(*options)
    assert (code, errors, runs) == (0, "", 1)
    assert [each.command for each in started] == [[sys.executable, "-m", "zoo", *COMMAND, "--quiet"]] * 2


@pytest.mark.parametrize("ended", [2, -9, 130])
def test_runs_that_another_process_left_are_done_here(shared, ended):
    code, errors, _, runs = shared("--processes", "3", codes=(ended,))
    assert (code, runs) == (0, 2)
    assert f"warning: 2 other processes ended with code {ended}; what is left of it is run here" in errors


def fail(*_):
    raise ValueError("no such thing")


def interrupt(*_):
    raise Interrupted


@pytest.mark.parametrize(
    ("codes", "run", "wanted"),
    [
        ((130,), interrupt, (130, "finished runs have their results")),
        # The signal comes after this process's own part, while it waits for the others.
        ((KeyboardInterrupt, 130), lambda *_: None, (130, "finished runs have their results")),
        ((0,), fail, (2, "no such thing")),
    ],
)
def test_what_ends_this_process_ends_the_others(shared, codes, run, wanted):
    code, errors, started, runs = shared("--processes", "3", codes=codes, run=run)
    assert (code, runs) == (wanted[0], 1) and wanted[1] in errors and "Traceback" not in errors
    assert [each.ended for each in started] == [True, True]


def test_a_process_that_cannot_be_started_ends_the_others(shared, monkeypatch):
    first = Process.__init__

    def start(self, command, **options):
        if self.started:
            raise OSError(12, "Cannot allocate memory")
        first(self, command, **options)

    monkeypatch.setattr(Process, "__init__", start)
    code, errors, started, runs = shared("--processes", "3")
    assert code == 2 and "Cannot allocate memory" in errors and runs == 0 and started[0].ended


def test_a_signal_while_waiting_ends_the_others(tmp_path):
    write_study(tmp_path)
    # This process has nothing to do, and waits for another one.
    script = """
import subprocess, sys
from zoo.commands.studying import command, processes
processes._start = lambda: subprocess.Popen([sys.executable, "-c", "import time; print(1, flush=True); time.sleep(60)"])
command.run_arms = lambda *_: None
from zoo.cli import main
main()
"""
    words = [sys.executable, "-c", script, *COMMAND, "--processes", "2"]
    options = {"cwd": tmp_path, "env": os.environ | {"PYTHONPATH": str(ROOT)}, "text": True}
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
    assert process.stdout.readline() == "1\n"
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130 and "To resume: " in errors


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
