"""``times.json``: the seconds that the steps of a run took, and the hardware, for cards of its weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builders.files import read_json, write_text
from builders.training.observers import Observer, RunInfo, StepReport

if TYPE_CHECKING:
    from builders.training.distributed import Processes

__all__ = ["TIMES", "RunTimes", "TimesObserver", "read_times"]

TIMES = "times.json"
#: Largest size of the file in bytes.
LARGEST = 2**16


@dataclass(slots=True)
class RunTimes:
    """What the steps of a run took, over all its starts.

    Attributes:
        hardware: Hardware in one line each; several if the run was resumed on other hardware.
        processes: Largest number of processes.
        steps: Steps by phase.
        seconds: Seconds of all steps by phase, without start-up, validation and samples. Steps that were taken again
            after an error count twice; those lost with a killed process do not count.
    """

    hardware: list[str] = field(default_factory=list)
    processes: int = 1
    steps: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


def read_times(path: Path) -> RunTimes | None:
    """Return the times in a file; None if there are none that can be read."""
    try:
        found = read_json(path, LARGEST)
        times = RunTimes(
            [str(line) for line in found["hardware"]],
            int(found["processes"]),
            {str(name): int(count) for name, count in found["steps"].items()},
            {str(name): float(seconds) for name, seconds in found["seconds"].items()},
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError):
        return None
    numbers = [*times.steps.values(), *times.seconds.values(), times.processes]
    return times if all(0 <= number < 1e12 for number in numbers) else None


class TimesObserver(Observer):
    """Writes ``times.json`` in the folder of the run, with every checkpoint and at the end.

    Args:
        hardware: Function from the device to the hardware in one line.
    """

    def __init__(self, hardware: Callable[[str], str]) -> None:
        self._hardware = hardware
        self._processes = 1
        self._times: RunTimes | None = None

    def on_processes(self, processes: Processes) -> bool:
        self._processes = processes.count
        return processes.main

    def on_start(self, run: RunInfo) -> None:
        if run.finished:
            return
        self._path = run.folder / TIMES
        found = read_times(self._path) if run.first_step else RunTimes()
        if found is None:  # the steps before were not measured
            return
        line = self._hardware(run.device)
        if line not in found.hardware:
            found.hardware.append(line)
        found.processes = max(found.processes, self._processes)
        self._times = found

    def on_step(self, report: StepReport) -> None:
        if self._times is not None:
            self._times.steps[report.phase] = report.phase_step
            self._times.seconds[report.phase] = self._times.seconds.get(report.phase, 0.0) + report.seconds

    def on_checkpoint(self, step: int, path: Path) -> None:
        self._write()

    def on_end(self, status: str) -> None:
        self._write()

    def _write(self) -> None:
        if self._times is not None:
            facts: dict[str, Any] = asdict(self._times)
            facts["seconds"] = {name: round(seconds, 3) for name, seconds in self._times.seconds.items()}
            write_text(self._path, json.dumps(facts, indent=1) + "\n")
