"""``log.jsonl``: the training log as JSON lines."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Mapping
from typing import Any

from builders.files import write_text
from builders.training.observers import Observer, RunInfo, StepReport

__all__ = ["JsonLog", "LogError"]


class LogError(ValueError):
    """The log of a run cannot be written. The message says why and what to do."""


class JsonLog(Observer):
    """Writes ``log.jsonl`` in the run's folder: one line per step, validation, monitor reading and alarm.

    A resumed run first deletes the lines after the step it resumes from.

    Args:
        every: Steps per logged step.
    """

    def __init__(self, every: int = 1) -> None:
        self.every = every
        self._file: Any = None

    def on_start(self, run: RunInfo) -> None:
        self._path = run.folder / "log.jsonl"
        kept = []
        if run.first_step and self._path.is_file():
            for line in self._path.read_text("utf-8", "replace").splitlines():
                try:
                    record = json.loads(line)
                    before = record.get("step", 0) <= run.first_step
                except (ValueError, AttributeError, TypeError):
                    continue  # a damaged line, or one cut short by a kill
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
        """Close the log, and return the error for a log that cannot be written."""
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):  # the rest of its buffer does not fit either
                file.close()
        return LogError(
            f"{self._path}: cannot be written ({error.strerror}); the last checkpoint, if any, is intact; free some "
            "space and run the same command again to resume"
        )

    def on_step(self, report: StepReport) -> None:
        if report.step % self.every == 0:
            record = {
                "step": report.step,
                "phase": report.phase,
                "loss": _finite(report.losses),
                "learning_rate": report.learning_rate,
                **_finite({"gradient_norm": report.gradient_norm}),
            }
            self._write(record | ({"skipped": True} if report.skipped else {}))

    def on_monitor(self, step: int, values: Mapping[str, float]) -> None:
        self._write({"step": step, "monitor": _finite(values)})

    def on_alarm(self, step: int, message: str) -> None:
        self._write({"step": step, "alarm": message})

    def on_evaluate(self, step: int, losses: Mapping[str, float]) -> None:
        self._write({"step": step, "val_v_loss": _finite(losses)})

    def on_end(self, status: str) -> None:
        self._write({"end": status})
        if self._file is not None:
            self._file.close()
            self._file = None


def _finite(values: Mapping[str, float]) -> dict[str, float | None]:
    """Replace infinity and NaN, which JSON does not have, by None."""
    return {name: value if math.isfinite(value) else None for name, value in values.items()}
