"""What a training shows in the terminal."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import pytest
from rich.console import Console

import zoo
from builders.training.observers import RunInfo, StepReport
from specs.recipe import load_recipe
from zoo.terminal.training_bar import ProgressBar


def bar(terminal=False):
    found = ProgressBar()
    found.console = Console(file=io.StringIO(), width=200, force_terminal=terminal, highlight=False)
    return found


def info(first_step=0, finished=False, name="noto-emoji-64", folder="runs/mine", changes=()):
    graph = zoo.get("mdm-micro").architecture
    return RunInfo(
        load_recipe("micro-test", changes), graph, Path(folder), 14, first_step, "cpu", {"name": name}, None, finished
    )


@pytest.mark.parametrize(
    ("run", "line"),
    [
        (info(), "folder runs/mine: new run, 14 steps"),
        (info(6), "folder runs/mine: resumed from step 6 of 14 steps"),
        (
            info(14, finished=True),
            "folder runs/mine: finished before at step 14; to train longer: --set phases.p16.steps=N",
        ),
        (info(folder="runs/[red]\x1b[31m"), r"folder runs/[red]\x1b[31m: new run"),
    ],
)
def test_the_start_says_what_is_trained_on_what_and_where(run, line):
    shown = bar()
    shown.on_start(run)
    first, second = shown.console.file.getvalue().splitlines()
    assert first == "mdm-micro (149.32 k parameters) on noto-emoji-64, cpu" and second.startswith(line)


def test_the_start_names_the_images_beside_the_clips():
    shown = bar()
    run = info(name="clips")
    shown.on_start(dataclasses.replace(run, data={"name": "clips", "images": "photos"}))
    assert shown.console.file.getvalue().startswith(
        "mdm-micro (149.32 k parameters) on clips and images of photos, cpu\n"
    )


@pytest.mark.parametrize(
    ("steps", "done", "length"),
    [
        (6, 0, "6 steps"),
        (6, 2, "4 of 6 steps left"),
        (6, 6, "all 6 steps done"),
        (None, 2, "limited by time"),
    ],
)
def test_a_phase_that_is_resumed_says_how_much_is_left(steps, done, length):
    shown = bar()
    shown.on_phase("p8", zoo.get("mdm-micro").architecture, steps, done)
    assert shown.console.file.getvalue() == f"phase p8: level r16, {length}\n"


def test_a_run_without_its_state_says_that_it_starts_over(tmp_path):
    (tmp_path / "ema.safetensors").touch()
    shown = bar()
    shown.on_start(info(folder=tmp_path))
    assert "its state.safetensors is missing, so the run starts over, 14 steps" in shown.console.file.getvalue()


def test_a_study_does_not_say_how_one_of_its_runs_is_trained_longer():
    shown = bar()
    shown.advise = False
    shown.on_start(info(14, finished=True))
    assert shown.console.file.getvalue().endswith("finished before at step 14\n")


def test_passwords_of_data_are_not_shown():
    shown = bar()
    shown.on_start(info(name="https://me:secret@host/a.tar?sig=1"))
    assert "secret" not in shown.console.file.getvalue() and "sig" not in shown.console.file.getvalue()


@pytest.mark.parametrize("terminal", [False, True])
def test_distances_and_their_progress(terminal):
    shown = bar(terminal)
    shown.on_start(info())
    shown.on_phase("p8", zoo.get("mdm-micro").architecture, 6, 0)
    shown.on_step(StepReport(1, "p8", 1, {"r8": 0.5}, 1e-3, 1.0, 0.1))
    for done in (10, 20):
        shown.on_progress("reference", done, 20)
    shown.on_progress("sampling", 5, 20)
    shown.on_distance(1, {"kid_made_up/r8": 0.01234567})
    shown.on_end("finished")
    text = shown.console.file.getvalue()
    assert "step 1: distance kid_made_up/r8 0.01235" in text
    assert ("sampling" in text) == terminal
