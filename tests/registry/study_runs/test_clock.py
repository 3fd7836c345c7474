"""Time and validation losses of a run survive an interruption."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from builders.training.observers import StepReport
from registry.study_runs.clock import RunClock, read_curves


def session(folder, first, last, evaluate):
    clock = RunClock()
    clock.on_start(SimpleNamespace(folder=folder, first_step=first))
    for step in range(first + 1, last + 1):
        clock.on_step(StepReport(step, "p8", step, {"r8": 1.0}, 1e-3, 1.0, 0.5))
        if step % evaluate == 0:
            clock.on_evaluate(step, {"r8": 1 / step})
    return clock


def test_curves_and_seconds_of_an_interrupted_run(tmp_path):
    session(tmp_path, 0, 5, 2).on_end("interrupted")  # killed after step 5; the last checkpoint is of step 4
    clock = session(tmp_path, 4, 8, 2)
    clock.on_checkpoint(8, tmp_path)
    clock.on_end("finished")
    assert clock.seconds == 4.0 and clock.cpu_seconds >= 0
    curve = read_curves(tmp_path, {"p8": 6, "p16": 2}, {"p8": 60, "p16": 200})["val_v_loss/r8"]
    assert curve.steps == (2, 4, 6, 8) and curve.values == pytest.approx((1 / 2, 1 / 4, 1 / 6, 1 / 8))
    assert curve.flops == (20, 40, 60, 260) and curve.seconds == (1, 2, 3, 4)


def test_a_line_that_was_cut_short_is_left_out(tmp_path):
    session(tmp_path, 0, 2, 1).on_end("finished")
    with (tmp_path / "study.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"step": 3, "seco')
    assert read_curves(tmp_path, {"p8": 2}, {"p8": 2})["val_v_loss/r8"].steps == (1, 2)
    assert read_curves(tmp_path / "absent", {}, {}) == {}
