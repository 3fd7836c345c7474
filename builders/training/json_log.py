"""``log.jsonl``: the training log as JSON lines."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Mapping
from typing import Any

from builders.files import write_text
from builders.training.observers import Observer, RunFacts, StepReport


class LogError(ValueError):
    """The log of a run cannot be written; the message says why and what to do."""


class JsonLog(Observer):
    """``log.jsonl`` in the run's folder: one line a step, evaluation, reading of the monitor and alarm.

    A run that goes on drops the lines past the step it goes on from, so that the log tells one story.
    """

    def __init__(self, every: int = 1) -> None:
        self.every = every
        self._file: Any = None

    def on_start(self, run: RunFacts) -> None:
        self._path = run.folder / "log.jsonl"
        kept = []
        if run.first_step and self._path.is_file():
            for line in self._path.read_text("utf-8", "replace").splitlines():
                try:
                    record = json.loads(line)
                    before = record.get("step", 0) <= run.first_step
                except (ValueError, AttributeError, TypeError):
                    continue  # a line that a kill cut short, or one that is damaged
                if before:
                    kept.append(line)
        try:
            write_text(self._path, "".join(f"{line}\n" for line in kept))
            self._file = self._path.open("a", encoding="utf-8")
        except OSError as error:
            raise self._failure(error) from error

    def _write(self, record: dict[str, Any]) -> None:
        if self._file is None:
            return
        try:
            self._file.write(json.dumps(record) + "\n")
            self._file.flush()
        except OSError as error:
            raise self._failure(error) from error

    def _failure(self, error: OSError) -> LogError:
        """The error for a log that cannot be written; nothing more is written to it."""
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):  # what is left in its buffer does not fit either
                file.close()
        return LogError(
            f"{self._path}: cannot be written ({error.strerror}); the last checkpoint, if any, stands: make room, and "
            "the same command goes on"
        )

    def on_step(self, report: StepReport) -> None:
        if report.step % self.every == 0:
            record = {
                "step": report.step,
                "phase": report.phase,
                "loss": {label: _finite(loss) for label, loss in report.losses.items()},
                "learning_rate": report.learning_rate,
                "gradient_norm": _finite(report.gradient_norm),
            }
            self._write(record | ({"skipped": True} if report.skipped else {}))

    def on_monitor(self, step: int, values: Mapping[str, float]) -> None:
        self._write({"step": step, "monitor": {name: _finite(value) for name, value in values.items()}})

    def on_alarm(self, step: int, message: str) -> None:
        self._write({"step": step, "alarm": message})

    def on_evaluate(self, step: int, losses: Mapping[str, float]) -> None:
        self._write({"step": step, "held_out_v_loss": {label: _finite(loss) for label, loss in losses.items()}})

    def on_end(self, status: str) -> None:
        self._write({"end": status})
        if self._file is not None:
            self._file.close()
            self._file = None


def _finite(value: float) -> float | None:
    """JSON has no infinity and no NaN."""
    return value if math.isfinite(value) else None
