"""Run what is missing of a study. Several processes may share the work; each claims a run by a lock."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builders.files import file_lock
from registry.evaluation.phases import Progress, silent
from registry.study_runs.lengths import flops_by_phase
from registry.study_runs.registration import Registration
from registry.study_runs.results import RunKey, RunResult, read_results, result_path, save_result
from registry.study_runs.reuse import OtherStudy, equal_results, save_taken
from registry.study_runs.runs import PlannedRun, StudyRuns

if TYPE_CHECKING:
    from builders.training.observers import Observer

__all__ = ["Places", "StudyRunner", "Train", "Unfinished", "results_by_key"]

#: Function that trains a planned run in a folder with a further observer; it may be called again to resume.
Train = Callable[[PlannedRun, Path, "Observer"], object]
#: Seconds between looks at the results of other processes.
POLL = 2.0


@dataclass(frozen=True, slots=True)
class Places:
    """Folders of a study.

    Attributes:
        runs: Folder of the folders of its runs.
        results: Folder of its results.
    """

    runs: Path
    results: Path

    def run(self, key: RunKey) -> Path:
        """Return the folder of a run."""
        return self.runs / key.name

    @property
    def again(self) -> Places:
        """Folders of runs that are done again, of this process alone."""
        folder = self.runs / f".again-{os.getpid()}"
        return Places(folder, folder / "results")

    def claim(self, key: RunKey) -> Path:
        """Return the file that the process that does a run locks."""
        return self.runs / ".claims" / f"{key.name}.lock"


@dataclass(frozen=True, slots=True)
class Unfinished:
    """Runs without a result when a process has nothing left to do.

    Attributes:
        elsewhere: Runs that other processes do.
    """

    elsewhere: tuple[RunKey, ...] = ()


def results_by_key(runs: StudyRuns, folder: Path) -> dict[RunKey, RunResult]:
    """Return the results of a study so far.

    Raises:
        ValueError: A file is not a result.
        StudyError: One is of another study.
    """
    found = {result.key: result for result in read_results(folder, runs.all_keys())}
    runs.check_results(found)
    return found


@dataclass
class StudyRunner:
    """Runs a study.

    Attributes:
        runs: The runs.
        places: Folders.
        train: Function that trains.
        registration: Its registration; None if it is exploratory.
        device: Device of training and measures.
        progress: Called with the name of the current phase of a measure, and how much of it is done out of how much.
        report: Called with a run that starts, the number of runs with a result, and the number of all.
        done: Called with the result of a run, and its folder.
        others: Studies whose results are taken where they have an equal run.
        taken: Called with results that were taken.
    """

    runs: StudyRuns
    places: Places
    train: Train
    registration: Registration | None = None
    device: str = "cpu"
    progress: Progress = silent
    report: Callable[[PlannedRun, int, int], None] = lambda run, done, total: None
    done: Callable[[RunResult, Path], None] = lambda result, folder: None
    others: Sequence[OtherStudy] = ()
    taken: Callable[[Sequence[RunResult]], None] = lambda results: None
    poll: float = field(default=POLL, repr=False)

    def run(self) -> Unfinished:
        """Do runs until every run has a result, or is done by another process.

        A run that a killed process left is resumed.

        Raises:
            Interrupted: Training was asked to stop; its state is saved.
            StudyError: Results are of another study, or a search failed.
            OSError: A file cannot be written.
        """
        keys = self.runs.all_keys()
        while True:
            self._take_equal()  # again after each run: those of a search decide what the others are equal to
            results = results_by_key(self.runs, self.places.results)
            missing = [key for key in keys if key not in results]
            ready = [each for key in missing if (each := self.runs.planned(key, results)) is not None]
            elsewhere = self._do_first(ready, len(keys) - len(missing), len(keys))
            if elsewhere is None:
                continue
            if len(ready) == len(missing):
                return Unfinished(elsewhere)
            time.sleep(self.poll)  # others do the search, which the rest waits for

    def _take_equal(self) -> None:
        """Take the results of equal runs of other studies."""
        from registry.environment import environment

        if not self.others:
            return
        results, saved = results_by_key(self.runs, self.places.results), []
        found = equal_results(self.runs, results, self.others, environment(self.device), self.registration)
        for key, taken in found.items():
            with self._claim(key) as ours:
                if ours and not result_path(key, self.places.results).is_file():  # of another process, just now
                    saved.append(save_taken(taken, self.places.results))
        if saved:
            self.taken(saved)

    def _do_first(self, ready: Sequence[PlannedRun], done: int, total: int) -> tuple[RunKey, ...] | None:
        """Do the first run that no other process does, and return None; without one, return those that others do."""
        for planned in ready:
            with self._claim(planned.key) as ours:
                if not ours:
                    continue
                if not result_path(planned.key, self.places.results).is_file():  # of another process, just now
                    self.report(planned, done, total)
                    result = self.result_of(planned)
                    save_result(result, self.places.results)
                    if result.status == "finished":
                        # States take much more room than the weights. A run that is measured again needs them.
                        shutil.rmtree(self.places.run(planned.key) / "checkpoints", ignore_errors=True)
                    self.done(result, self.places.run(planned.key))
                return None
        return tuple(planned.key for planned in ready)

    @contextlib.contextmanager
    def _claim(self, key: RunKey) -> Iterator[bool]:
        path = self.places.claim(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        with file_lock(path, wait=False) as ours:
            yield ours

    def result_of(self, planned: PlannedRun) -> RunResult:
        """Train a run, or resume it, and measure it."""
        from builders.training.errors import TrainingError
        from registry.study_runs.clock import RunClock, read_curves

        study, folder = self.runs.study, self.places.run(planned.key)
        clock, facts = RunClock(), self._facts(planned)
        with _threads(study.budget.threads):
            try:
                self.train(planned, folder, clock)
                facts |= self._cost(planned, clock)
                curves = read_curves(folder, facts["steps"], flops_by_phase(planned.recipe, planned.graph))
                last = {name: curve.values[-1] for name, curve in curves.items()}
                facts |= {"curves": curves, **self._measured(planned, folder, last)}
            except TrainingError as error:
                facts |= self._cost(planned, clock) | {"status": "failed", "failure": str(error)}
        return RunResult(**facts, date=datetime.now(timezone.utc).isoformat(timespec="seconds"))

    def _facts(self, planned: PlannedRun) -> dict[str, Any]:
        from registry.environment import environment

        registered = self.registration
        return {
            "study": self.runs.study.name,
            **planned.key.model_dump(),
            "setting": planned.setting,
            "exploratory": registered is None,
            "registered": "" if registered is None else registered.sha256,
            "commit": "" if registered is None else registered.commit,
            "entry": planned.graph.name,
            "hash": planned.graph.hash,
            "recipe": planned.fingerprint,
            "threads": self.runs.study.budget.threads,
            "environment": environment(self.device),
        }

    @staticmethod
    def _cost(planned: PlannedRun, clock: Any) -> dict[str, Any]:
        return {
            "steps": {name: phase.steps for name, phase in planned.recipe.phases.items()},
            "training_flops": float(planned.flops),
            "seconds": round(clock.seconds, 3),
            "cpu_seconds": round(clock.cpu_seconds, 3),
        }

    def _measured(self, planned: PlannedRun, folder: Path, last: Mapping[str, float]) -> dict[str, Any]:
        """Return the measures of a run, and the failure if one of them is not finite or fails."""
        from registry.measures.runs import measure_run

        study, picture = self.runs.study, result_path(planned.key, self.places.results).with_suffix(".png")
        wanted = study.measures_of(planned.key.searched is not None)
        begun, found, failure = time.perf_counter(), dict[str, Any](), ""
        try:
            if wanted:
                found = measure_run(
                    folder, wanted, evaluation=study.evaluation, data=study.data, device=self.device, picture=picture,
                    progress=self.progress,
                )  # fmt: skip
        except (ValueError, ArithmeticError) as error:
            failure = f"{type(error).__name__}: {error}"
        scalars = {name: float(value) for name, value in found.items() if isinstance(value, (int, float))}
        finite = {name: value for name, value in (dict(last) | scalars).items() if math.isfinite(value)}
        wrong = [name for name in scalars if name not in finite]
        failure = failure or (f"not finite: {', '.join(wrong)}" if wrong else "")
        return {
            "status": "failed" if failure else "finished",
            "failure": failure,
            "measures": finite,
            "series": {name: value for name, value in found.items() if name not in scalars},
            "measuring_seconds": round(time.perf_counter() - begun, 3),
            "samples": picture.name if picture.is_file() else "",
        }


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    """Compute with a number of threads, on which the last digits of sums depend."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
