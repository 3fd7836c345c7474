"""Do a run of a study again, and compare it with its result."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from typing import NamedTuple

from registry.studies import StudyError
from registry.study_runs.results import RunKey, RunResult
from registry.study_runs.running import StudyRunner, results_by_key
from specs.errors import did_you_mean, quote

__all__ = ["TOLERANCE", "Compared", "Reproduction", "reproduce", "run_key"]

#: Largest relative difference of a value on another machine.
TOLERANCE = 1e-3


class Compared(NamedTuple):
    """A value, and the same value again.

    Attributes:
        name: Name of the value.
        before: Value of the result.
        now: Value of the new run; None if it has none.
    """

    name: str
    before: float
    now: float | None

    @property
    def difference(self) -> float:
        """Difference relative to the value before; infinite if there is no value now."""
        if self.now is None:
            return float("inf")
        return abs(self.now - self.before) / max(abs(self.before), 1e-300) if self.now != self.before else 0.0


@dataclass(frozen=True, slots=True)
class Reproduction:
    """A run that was done again.

    Attributes:
        before: Its result.
        now: Result of the new run, which is not stored.
    """

    before: RunResult
    now: RunResult

    @property
    def values(self) -> tuple[Compared, ...]:
        """All measures of the result, in their order, and the losses at the end of its curves."""
        return tuple(Compared(name, value, self.now.measures.get(name)) for name, value in self.before.measures.items())

    @property
    def largest(self) -> float:
        """Largest relative difference; infinite if a value is missing, or only one of both runs failed."""
        if (self.before.status, self.before.failure) != (self.now.status, self.now.failure):
            return float("inf")
        return max((each.difference for each in self.values), default=0.0)

    @property
    def same(self) -> bool:
        """Whether all values and curves are equal to the last digit."""
        curves = {name: (each.steps, each.values) for name, each in self.before.curves.items()}
        again = {name: (each.steps, each.values) for name, each in self.now.curves.items()}
        return self.largest == 0 and curves == again and self.before.series == self.now.series


def run_key(runner: StudyRunner, name: str) -> RunKey:
    """Return the run of a name such as ``flat-s0``.

    Raises:
        StudyError: The study has no such run.
    """
    keys = {key.name: key for key in runner.runs.all_keys()}
    if name not in keys:
        hint = did_you_mean(name, keys) or f"; its runs are {', '.join(list(keys)[:6])} and so on"
        raise StudyError(f"the study {runner.runs.study.name} has no run {quote(name)}{hint}")
    return keys[name]


def reproduce(runner: StudyRunner, name: str) -> Reproduction:
    """Do a run again from the start in a folder of its own, which is deleted, and compare it with its result.

    Args:
        runner: Runner of the study.
        name: Name of the run, such as ``flat-s0``.

    Raises:
        StudyError: The study has no such run, or it has no result.
    """
    key = run_key(runner, name)
    results = results_by_key(runner.runs, runner.places.results)
    planned = runner.runs.planned(key, results)
    if key not in results or planned is None:
        raise StudyError(f"{name} has no result in {runner.places.results} to compare with")
    places = runner.places.again
    shutil.rmtree(places.runs, ignore_errors=True)
    try:
        now = replace(runner, places=places).result_of(planned)
    finally:
        shutil.rmtree(places.runs, ignore_errors=True)
    return Reproduction(results[key], now)
