"""Time and validation losses of a run of a study, which survive an interruption."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from builders.files import read_regular, write_text
from builders.training.observers import Observer, RunInfo, StepReport
from registry.study_runs.results import Curve

__all__ = ["RunClock", "read_curves"]

NAME = "study.jsonl"


class RunClock(Observer):
    """Writes ``study.jsonl`` in the run's folder: seconds of training, and validation losses, by step.

    Attributes:
        seconds: Seconds of all training steps.
        cpu_seconds: Processor seconds of this process in the same.
    """

    def __init__(self) -> None:
        self.seconds = self.cpu_seconds = self._mark = 0.0
        self._file: Any = None
        self._step = 0

    def on_start(self, run: RunInfo) -> None:
        path = run.folder / NAME
        records = [each for each in _records(path) if each["step"] <= run.first_step] if run.first_step else []
        if records:
            self.seconds, self.cpu_seconds = records[-1]["seconds"], records[-1]["cpu_seconds"]
        write_text(path, "".join(json.dumps(each) + "\n" for each in records))
        self._file = path.open("a", encoding="utf-8")
        self._mark = time.process_time()

    def on_phase(self, name: str, graph: Any, steps: int | None, done: int) -> None:
        self._mark = time.process_time()

    def on_step(self, report: StepReport) -> None:
        now = time.process_time()
        self._step = report.step
        self.seconds += report.seconds
        self.cpu_seconds += now - self._mark
        self._mark = now

    def on_evaluate(self, step: int, losses: Mapping[str, float]) -> None:
        self._write(step, val_v_loss=dict(losses))

    def on_errors(self, step: int, errors: Mapping[str, float]) -> None:
        self._mark = time.process_time()

    def on_grid(self, step: int, phase: str, grid: Any, path: Path) -> None:
        self._mark = time.process_time()

    def on_checkpoint(self, step: int, path: Path) -> None:
        self._write(step)

    def on_end(self, status: str) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self, step: int, **facts: Any) -> None:
        if self._file is not None:
            record = {"step": step, "seconds": self.seconds, "cpu_seconds": self.cpu_seconds, **facts}
            self._file.write(json.dumps(record) + "\n")
            self._file.flush()
        self._mark = time.process_time()


def read_curves(folder: Path, steps: Mapping[str, int], flops: Mapping[str, float]) -> dict[str, Curve]:
    """Return the validation losses of a run by name, such as ``val_v_loss/r32``.

    Args:
        folder: Folder of the run.
        steps: Steps by phase.
        flops: Training FLOPs by phase.
    """
    found: dict[str, list[tuple[int, float, float, float]]] = {}
    for record in _records(folder / NAME):
        for label, value in record.get("val_v_loss", {}).items():
            point = (record["step"], _flops_at(record["step"], steps, flops), record["seconds"], value)
            points = found.setdefault(f"val_v_loss/{label}", [])
            if not points or points[-1][0] < record["step"]:
                points.append(point)
    curves = {}
    for name, points in found.items():
        at, cost, seconds, values = zip(*points, strict=True)
        curves[name] = Curve(steps=at, flops=cost, seconds=tuple(round(each, 3) for each in seconds), values=values)
    return curves


def _flops_at(step: int, steps: Mapping[str, int], flops: Mapping[str, float]) -> float:
    """Return the training FLOPs of the first steps of a run."""
    total = 0.0
    for name, count in steps.items():
        done = min(step, count)
        total += flops[name] * done / count
        step -= done
    return total


def _records(path: Path) -> list[dict[str, Any]]:
    """Return the records of a file, without a line that was cut short by a kill."""
    found = []
    try:
        lines = read_regular(path).decode("utf-8", "replace").splitlines()
    except OSError:
        return []
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and {"step", "seconds", "cpu_seconds"} <= record.keys():
            found.append(record)
    return found
