"""``log.jsonl``: the training log as JSON lines."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from builders.files import write_text
from builders.training.observers import Observer, RunInfo, StepReport

__all__ = ["JsonLog", "LogError"]


class LogError(ValueError):
    """The log of a run cannot be written. The message says why and what to do."""


class JsonLog(Observer):
    """Writes ``log.jsonl`` in the run's folder: one line per step, validation, distance, monitor reading
    and alarm.

    A resumed run first deletes the lines after the step it resumes from.

    Args:
        every: Steps per logged step.
    """

    def __init__(self, every: int = 1) -> None:
        self.every = every
        self._file: Any = None
        #: The precision of measurements, unless it is float32.
        self._stated: dict[str, str] = {}

    def on_start(self, run: RunInfo) -> None:
        self._path = run.folder / "log.jsonl"
        self._stated = {} if run.precision == "float32" else {"precision": run.precision}
        resumed = run.first_step and self._path.is_file()
        lines = self._path.read_text("utf-8", "replace").splitlines() if resumed else []
        with self._clear_errors("; free some space and run the same command again, or choose another --output"):
            write_text(self._path, "".join(f"{line}\n" for line in lines if _is_before(line, run.first_step)))
            self._file = self._path.open("a", encoding="utf-8")

    def _write(self, record: dict[str, Any]) -> None:
        if self._file is not None:
            with self._clear_errors():
                self._file.write(json.dumps(record) + "\n")
                self._file.flush()

    @contextlib.contextmanager
    def _clear_errors(self, advice: str = "; the log ends here") -> Iterator[None]:
        """Turn an error of the system into a LogError, and close the log."""
        try:
            yield
        except OSError as error:
            file, self._file = self._file, None
            with contextlib.suppress(OSError, AttributeError):  # the rest of its buffer does not fit either
                file.close()
            raise LogError(f"{self._path}: cannot be written ({error.strerror}){advice}") from error

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
        self._write({"step": step, "val_v_loss": _finite(losses), **self._stated})

    def on_errors(self, step: int, errors: Mapping[str, float]) -> None:
        self._write({"step": step, "val_error_by_log_snr": _finite(errors), **self._stated})

    def on_distance(self, step: int, distances: Mapping[str, float]) -> None:
        self._write({"step": step, "distance": _finite(distances)})

    def on_end(self, status: str) -> None:
        self._write({"end": status})
        if self._file is not None:
            self._file.close()
            self._file = None


def _is_before(line: str, step: int) -> bool:
    """Return whether a line is of a step up to this one; False if it is damaged or was cut short by a kill."""
    try:
        return bool(json.loads(line).get("step", 0) <= step)
    except (ValueError, AttributeError, TypeError):
        return False


def _finite(values: Mapping[str, float]) -> dict[str, float | None]:
    """Replace infinity and NaN, which JSON does not have, by None."""
    return {name: value if math.isfinite(value) else None for name, value in values.items()}
