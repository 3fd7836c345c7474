"""``zoo train``: signals, what it prints, what it refuses."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import pytest

from builders.training.errors import Interrupted, TrainingError
from builders.training.observers import Observer
from specs.recipe import load_recipe
from tests.helpers.arm_studies import write_study
from zoo.api.train import _stop_signals, run


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_end_training_after_the_step(number):
    before = signal.getsignal(number)
    with _stop_signals() as stop:
        assert not stop()
        os.kill(os.getpid(), number)
        assert stop()
    assert signal.getsignal(number) == before


class SignalAtTheEnd(Observer):
    """Sends a signal to this process when a run has ended."""

    def on_end(self, status):
        os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("more", [False, True])
def test_a_signal_at_the_end_of_a_run_stops_what_comes_after_it(more, tmp_path):
    changes = [
        "phases.p8.steps=1",
        "phases.p16=null",
        "phases.p8.batch=2",
        "every={checkpoint: 0, evaluate: 0, samples: 0}",
    ]
    recipe = load_recipe("micro-test", changes)
    options = {"device": "cpu", "quiet": True, "track": False, "more": more, "extra": [SignalAtTheEnd()]}
    with pytest.raises(Interrupted) if more else contextlib.nullcontext():
        run(recipe, tmp_path / "run", **options)
    assert run(recipe, tmp_path / "run", device="cpu", quiet=True, track=False, more=more).is_file()  # it was finished


def test_a_signal_in_a_training_that_fails_stops_what_comes_after_it(monkeypatch, tmp_path):
    def fail(*arguments, stop, **options):
        os.kill(os.getpid(), signal.SIGTERM)
        raise TrainingError("not finite")

    monkeypatch.setattr("builders.training.start.train", fail)
    recipe, options = load_recipe("micro-test"), {"device": "cpu", "quiet": True, "track": False}
    with pytest.raises(TrainingError):
        run(recipe, tmp_path / "run", **options)
    with pytest.raises(Interrupted):
        run(recipe, tmp_path / "run", more=True, **options)


@pytest.mark.parametrize("words", [["demo"], ["study", "n32"], ["study", "mini.yaml", "--exploratory"]])
def test_commands_that_go_on_after_a_run_are_interrupted(words, cli, monkeypatch):
    found = []

    def interrupted(*arguments, **options):
        found.append(options["more"])
        raise Interrupted

    write_study(Path())
    monkeypatch.setattr("zoo.api.train.run", interrupted)
    code, _, errors = cli(*words, "--no-track", "-q")
    assert code == 130 and found == [True] and "interrupted" in errors


def test_a_hangup_that_nohup_ignores_is_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with _stop_signals() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_training_that_this_machine_cannot_hold_is_refused_before_it_starts(cli):
    arguments = ["train", "mdm-s1024", "--data", "noto-emoji-64", "--no-track"]
    code, _, errors = cli(*arguments, "--set", "phases.r64.batch=100000")
    assert code == 2 and errors.startswith("error: mdm-s1024") and "training takes at least" in errors
    assert errors.count("\n") == 1 and "--no-memory-check" in errors


def test_weights_that_this_machine_cannot_hold_are_refused(cli, monkeypatch):
    monkeypatch.setattr("registry.costs.machine.memory_of", lambda device: 1000)
    for command in (["sample", "mdm-nano"], ["evaluate", "mdm-nano", "-n", "2"]):
        code, _, errors = cli(*command, "-q")
        assert code == 2 and "mdm-nano: sampling takes at least" in errors
