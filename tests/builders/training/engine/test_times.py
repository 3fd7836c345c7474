"""The times of a run: what is written, added up over starts, and read again."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from builders.training.engine.times import RunTimes, TimesObserver, read_times
from builders.training.observers import StepReport


def report(phase, step, seconds):
    return StepReport(step, phase, step, {}, 0.1, 1.0, seconds)


def observer(folder, hardware, *, first_step=0, finished=False, count=1):
    made = TimesObserver(lambda device: f"{device} {hardware}")
    assert made.on_processes(SimpleNamespace(count=count, main=True))
    made.on_start(SimpleNamespace(folder=folder, first_step=first_step, finished=finished, device="cpu"))
    return made


def test_seconds_add_up_over_starts(tmp_path):
    first = observer(tmp_path, "A")
    for step in (1, 2):
        first.on_step(report("p8", step, 0.5))
    first.on_checkpoint(2, tmp_path)
    first.on_step(report("p8", 3, 9.0))  # lost with the process
    second = observer(tmp_path, "B", first_step=2, count=2)
    second.on_step(report("p8", 3, 0.25))
    second.on_step(report("p16", 1, 2.0))
    second.on_end("finished")
    expected = RunTimes(["cpu A", "cpu B"], 2, {"p8": 3, "p16": 1}, {"p8": 1.25, "p16": 2.0})
    assert read_times(tmp_path / "times.json") == expected
    before = (tmp_path / "times.json").read_bytes()
    observer(tmp_path, "C", first_step=4, finished=True).on_end("finished")
    assert (tmp_path / "times.json").read_bytes() == before


def test_a_run_that_began_without_times_has_none(tmp_path):
    resumed = observer(tmp_path, "A", first_step=2)
    resumed.on_step(report("p8", 3, 0.25))
    resumed.on_end("finished")
    assert not list(tmp_path.iterdir())


def test_a_new_run_in_the_folder_of_another_starts_from_nothing(tmp_path):
    first = observer(tmp_path, "A")
    first.on_step(report("p8", 1, 5.0))
    first.on_end("interrupted")
    second = observer(tmp_path, "A")
    second.on_step(report("p8", 1, 1.0))
    second.on_end("finished")
    assert read_times(tmp_path / "times.json").seconds == {"p8": 1.0}


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"hardware": 3, "processes": 1, "steps": {}, "seconds": {}}',
        '{"hardware": [], "processes": 1, "steps": [], "seconds": {}}',
        '{"hardware": [], "processes": 1, "steps": {"p": -1}, "seconds": {}}',
        '{"hardware": [], "processes": 1, "steps": {}, "seconds": {"p": NaN}}',
        '{"hardware": [], "processes": 1, "steps": {}, "seconds": {"p": Infinity}}',
        '{"hardware": [], "processes": Infinity, "steps": {}, "seconds": {}}',
    ],
)
def test_damaged_files_are_no_times(tmp_path, content):
    (tmp_path / "times.json").write_text(content)
    assert read_times(tmp_path / "times.json") is None
    assert read_times(tmp_path / "missing.json") is None


def test_round_trip(tmp_path):
    facts = {"hardware": ["x"], "processes": 2, "steps": {"p": 3}, "seconds": {"p": 1.5}}
    (tmp_path / "times.json").write_text(json.dumps(facts))
    assert read_times(tmp_path / "times.json") == RunTimes(["x"], 2, {"p": 3}, {"p": 1.5})
