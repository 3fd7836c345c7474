"""Register a study of arms, and run what is missing of it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.early.data import check_data
from zoo.early.folder import check_folder

if TYPE_CHECKING:
    from builders.training.observers import Observer
    from registry.study_runs.registration import Registration
    from registry.study_runs.reproduction import Reproduction
    from registry.study_runs.results import RunResult
    from registry.study_runs.running import Places, StudyRunner
    from registry.study_runs.runs import PlannedRun, StudyRuns
    from specs.arms import LoadedArmStudy
    from specs.schemas.arms import ArmStudy

__all__ = ["StudyOptions", "record_results", "register_study", "reproduce_run", "run_arms", "study_places"]


@dataclass(frozen=True, slots=True)
class StudyOptions:
    """Options of ``zoo study``.

    Attributes:
        output: Folder of the folders of the runs; None for the default.
        results: Folder of the results; None for the default.
        device: Name of the device; None for the default.
        quiet: Whether to show no progress.
        track: Whether to log to MLflow.
        experiment: Name of the experiment in MLflow; None for the default.
        exploratory: Whether to run without registration, with results of their own.
    """

    output: Path | None = None
    results: Path | None = None
    device: str | None = None
    quiet: bool = False
    track: bool = True
    experiment: str | None = None
    exploratory: bool = False


def study_places(loaded: LoadedArmStudy, options: StudyOptions) -> Places:
    """Return the folders of a study; those of ``--exploratory`` have other names."""
    from registry.study_runs.results import FOLDER
    from registry.study_runs.running import Places

    name = loaded.study.name + (".exploratory" if options.exploratory else "")
    return Places(options.output or Path("runs") / "studies" / name, options.results or FOLDER / name)


def register_study(loaded: LoadedArmStudy, options: StudyOptions) -> Path:
    """Write the registration of a study; return its file.

    Raises:
        StudyError: The study is wrong, or has results already.
    """
    from registry.studies import StudyError
    from registry.study_runs.registration import register
    from registry.study_runs.results import read_results
    from registry.study_runs.runs import StudyRuns

    runs, places = StudyRuns(loaded), study_places(loaded, options)
    _check(loaded)
    results = read_results(places.results, runs.all_keys())
    if results:
        raise StudyError(
            f"{loaded.study.name} has {len(results)} results in {places.results}, but a study is registered before its "
            "first run; move them away, or name another --results"
        )
    return register(runs)


def _check(loaded: LoadedArmStudy) -> None:
    """Check data, entries, features and measures before anything is trained."""
    from registry.evaluation.features import check_features
    from registry.measures.runs import check_measures
    from registry.studies import check_arms

    study = loaded.study
    check_data(study.data)
    if "p2" in study.measures:
        check_features(study.evaluation.features)
    check_arms(loaded)
    check_measures(study.measures, [arm.graph for arm in loaded.arms])


def run_arms(loaded: LoadedArmStudy, options: StudyOptions) -> None:
    """Run what is missing of a study.

    Raises:
        Interrupted: Ctrl-C or SIGTERM; the state is saved.
        StudyError: The study is not as registered, is wrong, or its results are of another study.
    """
    from registry.study_runs.runs import StudyRuns
    from zoo.terminal.progress import phase_bars

    runs, places = StudyRuns(loaded), study_places(loaded, options)
    registration = _registration(runs, options)
    for folder in (places.runs, places.results):
        check_folder(folder)
    _check(loaded)
    if registration is not None and not registration.commit:
        _say("warning: the registration is not committed, so results name no commit")
    with phase_bars(options.quiet) as progress:
        runner = _runner(runs, places, options, registration, progress)
        done = _Done(loaded.study, options)
        runner.done, runner.taken = done, done.taken
        if not options.quiet:
            runner.report = _report
        left = runner.run()
    if not options.quiet:
        _summarize(runs, places, left.elsewhere)


def reproduce_run(loaded: LoadedArmStudy, options: StudyOptions, name: str) -> Reproduction:
    """Do a run of a study again, and compare it with its result.

    Raises:
        StudyError: The study has no such run or result, or is not as registered.
    """
    from registry.study_runs.reproduction import reproduce
    from registry.study_runs.runs import StudyRuns
    from zoo.terminal.progress import phase_bars

    runs, places = StudyRuns(loaded), study_places(loaded, options)
    registration = _registration(runs, options)
    check_folder(places.runs)
    _check(loaded)
    with phase_bars(options.quiet) as progress:
        untracked = replace(options, track=False)
        return reproduce(_runner(runs, places, untracked, registration, progress), name)


def _registration(runs: StudyRuns, options: StudyOptions) -> Registration | None:
    from registry.study_runs.registration import check_registration

    return None if options.exploratory or runs.study.exploratory else check_registration(runs)


def _runner(
    runs: StudyRuns, places: Places, options: StudyOptions, registration: Registration | None, progress: Any
) -> StudyRunner:
    from registry.catalogue import search_path
    from registry.study_runs.reuse import other_studies
    from registry.study_runs.running import StudyRunner
    from zoo.device import pick_device

    trainer = _Trainer(runs.loaded, options, registration)
    where, others = str(pick_device(options.device)), other_studies(runs.loaded, search=search_path())
    return StudyRunner(runs, places, trainer.train, registration, where, progress=progress, others=others)


class _Trainer:
    """Trains runs of a study with the usual observers, tagged in MLflow."""

    def __init__(self, loaded: LoadedArmStudy, options: StudyOptions, registration: Registration | None) -> None:
        self.study, self.options, self.registration = loaded.study, options, registration

    def train(self, planned: PlannedRun, folder: Path, clock: Observer) -> None:
        """Train a run, or resume it."""
        from registry.study_report.logged import study_tags
        from zoo.api.train import run

        options = self.options
        run(
            planned.recipe.model_copy(update={"name": f"{self.study.name}-{planned.key.name}"}),
            folder,
            graph=planned.graph,
            device=options.device,
            quiet=options.quiet,
            track=options.track,
            experiment=options.experiment,
            advise=False,
            extra=[clock],
            more=True,
            tags=study_tags(self.study, planned.key, planned.setting, self.registration is None),
        )


def _report(planned: PlannedRun, done: int, total: int) -> None:
    setting = "" if planned.key.searched is None else f", searching with {planned.setting}"
    _say(f"{planned.key.arm}, seed {planned.key.seed}{setting} ({done + 1} of {total})")


class _Done:
    """Logs the measures of a run, and says if it failed."""

    def __init__(self, study: ArmStudy, options: StudyOptions) -> None:
        self.study, self.options = study, options

    def __call__(self, result: RunResult, folder: Path) -> None:
        """Log the measures of a run with a result."""
        from registry.study_report.tracked import send_measures
        from registry.tracking.store import store_errors, tracking_uri

        if result.status == "failed" and not self.options.quiet:
            _say(f"failed: {result.key.name}: {result.failure}")
        if not self.options.track:
            return
        try:
            with store_errors(tracking_uri()):
                problem = send_measures(result, folder)
        except (ValueError, OSError) as error:
            problem = str(error)
        if problem is not None:
            _say(f"warning: {problem}")

    def taken(self, results: Sequence[RunResult]) -> None:
        """Log results that were taken from another study."""
        if not self.options.quiet:
            names = ", ".join(f"{each.key.name} from {each.taken_from}" for each in results)
            _say(f"results of equal runs are taken: {names}")
        if not self.options.track:
            return
        try:
            record_results(self.study, results, self.options.experiment)
        except (ValueError, OSError) as error:
            _say(f"warning: {error}")


def record_results(study: ArmStudy, results: Sequence[RunResult], experiment: str | None = None) -> int:
    """Log results of a study that MLflow has no run of; return their number.

    Args:
        study: The study.
        results: Its results.
        experiment: Name of the experiment; None for the default.

    Raises:
        StoreError: The store cannot be used.
    """
    from registry.study_report.logged import log_results
    from registry.tracking.store import connect, store_errors, tracking_uri
    from registry.tracking.stores.experiments import chosen_experiment, experiment_id

    uri = tracking_uri()
    with store_errors(uri):
        client = connect(uri, lambda text: _say(f"warning: {text}"))
        return log_results(client, experiment_id(client, chosen_experiment(experiment)), study, results)


def _summarize(runs: StudyRuns, places: Places, elsewhere: tuple[Any, ...]) -> None:
    from registry.study_runs.running import results_by_key

    results = results_by_key(runs, places.results)
    failed = [key.name for key, result in results.items() if result.status == "failed"]
    print(f"{len(results)} of {len(runs.all_keys())} runs have a result in {places.results}")
    if elsewhere:
        print(f"other processes do {', '.join(key.name for key in elsewhere)}")
    if failed:
        print(f"failed: {', '.join(failed)}; delete a file to run it again")


def _say(text: str) -> None:
    print(text, file=sys.stderr)
