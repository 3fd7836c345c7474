"""Results of other studies that a study takes, where a run of theirs is equal to one of its own.

Equal runs have the same entry and recipe, seed and number of threads, and are measured alike. On the same hardware they
give the same numbers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builders.files import read_regular, replacing
from registry.measures.arguments import ErrorArguments, parse_measures
from registry.studies import StudyError
from registry.study_runs.registration import Registration
from registry.study_runs.results import (
    FOLDER,
    RunKey,
    RunResult,
    picture_path,
    read_picture,
    read_results,
    result_path,
    save_result,
)
from registry.study_runs.runs import PlannedRun, StudyRuns
from specs.arms import LoadedArmStudy, load_arm_study
from specs.schemas.arms import ArmStudy
from specs.schemas.recipe import Recipe

__all__ = ["OtherStudy", "Taken", "equal_results", "other_studies", "save_taken"]

#: Facts of the environment on which numbers depend.
SURROUNDINGS = ("hardware", "version.torch")


@dataclass(frozen=True, slots=True)
class OtherStudy:
    """A study whose results are reused.

    Attributes:
        runs: Its runs.
        folder: Folder of its results.
        sha256: Hash of its file.
    """

    runs: StudyRuns
    folder: Path
    sha256: str

    @property
    def name(self) -> str:
        """Name of the study."""
        return self.runs.study.name

    def results(self) -> tuple[dict[RunKey, RunResult], int]:
        """Return the results that the registered study has so far, and how many it has of an earlier version.

        Raises:
            ValueError: A file is not a result.
        """
        found = [each for each in read_results(self.folder, self.runs.all_keys()) if not each.exploratory]
        current = {each.key: each for each in found if each.registered == self.sha256}
        return current, len(found) - len(current)

    def planned(self, result: RunResult, results: Mapping[RunKey, RunResult]) -> PlannedRun | None:
        """Return the run of a result as it is planned now, or None if it cannot be known."""
        try:
            return self.runs.planned(result.key, results)
        except StudyError:  # the search of its arm failed
            return None


@dataclass(frozen=True, slots=True)
class Taken:
    """A result of another study, as one of a study.

    Attributes:
        result: The result.
        picture: Picture of its samples in the folder of the other study; None if there is none.
    """

    result: RunResult
    picture: Path | None


def other_studies(loaded: LoadedArmStudy, *, search: Sequence[Path] | None = None) -> tuple[OtherStudy, ...]:
    """Return the studies that a study reuses.

    Args:
        loaded: The study.
        search: As for :func:`specs.arms.load_arm_study`.

    Raises:
        SpecError: One of the studies has errors.
        StudyError: One has the name of this study, or arms that do not cost its budget.
    """
    found = []
    for name in loaded.study.reuse:
        other = load_arm_study(name, search=search)
        if other.study.name == loaded.study.name:
            raise StudyError(f"{name}: the study that is reused has the name of this one, {loaded.study.name}")
        digest = hashlib.sha256(read_regular(other.path)).hexdigest()
        found.append(OtherStudy(StudyRuns(other), FOLDER / other.study.name, digest))
    return tuple(found)


def equal_results(
    runs: StudyRuns,
    results: Mapping[RunKey, RunResult],
    others: Sequence[OtherStudy],
    environment: Mapping[str, str],
    registration: Registration | None = None,
) -> dict[RunKey, Taken]:
    """Return results that other studies have of runs without one.

    Runs that wait for the search of their arm are left out.

    Args:
        runs: Runs of the study.
        results: Its results so far.
        others: Studies that it reuses.
        environment: Versions and hardware of runs that are made here.
        registration: Its registration; None if it is exploratory.

    Raises:
        StudyError: The search of an arm failed.
        ValueError: A file of another study is not a result.
    """
    found: dict[RunKey, Taken] = {}
    known = [(other, other.results()[0]) for other in others]
    while known:
        so_far = {**results, **{key: taken.result for key, taken in found.items()}}
        fresh = {}
        for key in runs.all_keys():
            planned = None if key in so_far else runs.planned(key, so_far)
            equal = None if planned is None else next(_equal(runs.study, planned, known, environment), None)
            if planned is not None and equal is not None:
                fresh[key] = _taken(runs.study, planned, *equal, registration)
        if not fresh:
            break
        found |= fresh  # with those of a search, the runs of its arm are known
    return found


def _equal(
    study: ArmStudy,
    planned: PlannedRun,
    known: Sequence[tuple[OtherStudy, Mapping[RunKey, RunResult]]],
    environment: Mapping[str, str],
) -> Iterator[tuple[RunResult, OtherStudy]]:
    """Yield results that are equal to a run, measured as its study wants, and the studies that have them."""
    mine = (planned.graph.hash, planned.fingerprint, planned.key.seed, study.budget.threads)
    here = [environment.get(name) for name in SURROUNDINGS]
    for other, results in known:
        for result in results.values():
            if result.status != "finished" or mine != (result.hash, result.recipe, result.seed, result.threads):
                continue
            theirs = other.planned(result, results)
            alike = theirs is not None and _without_name(planned.recipe) == _without_name(theirs.recipe)
            if alike and here == [result.environment.get(name) for name in SURROUNDINGS]:
                measures = _measures(study, planned.key, other.runs.study, result)
                if measures is not None:
                    yield result.model_copy(update={"measures": measures}), other


def _without_name(recipe: Recipe) -> Recipe:
    """Return a recipe to compare: all its keys but the name, also those that its fingerprint leaves out."""
    return recipe.model_copy(update={"name": "", "summary": ""})


def _measures(study: ArmStudy, key: RunKey, other: ArmStudy, result: RunResult) -> dict[str, float] | None:
    """Return the measures of a result as a study wants them; None if it wants others."""
    wanted = parse_measures(study.measures_of(key.searched is not None))
    there = parse_measures(other.measures_of(result.searched is not None))
    if study.evaluation != other.evaluation or _without_ratios(wanted) != _without_ratios(there):
        return None
    if wanted == there:
        return result.measures
    from builders.measures.clean_error import mean_error

    # The errors of all ratios are stored, so the mean of others follows from them.
    ratios = wanted["p1"].log_snrs
    errors = {each: result.measures[f"p1/{each:g}"] for each in ratios if f"p1/{each:g}" in result.measures}
    return {**result.measures, "p1": mean_error(errors, ratios)} if len(errors) == len(ratios) else None


def _without_ratios(measures: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: each.model_copy(update={"log_snrs": ()}) if isinstance(each, ErrorArguments) else each
        for name, each in measures.items()
    }


def _taken(
    study: ArmStudy, planned: PlannedRun, result: RunResult, other: OtherStudy, registration: Registration | None
) -> Taken:
    """Return a result of another study as that of a run."""
    picture = picture_path(result, other.folder)
    facts: dict[str, Any] = {
        "study": study.name,
        **planned.key.model_dump(),
        "setting": planned.setting,
        "exploratory": registration is None,
        "registered": "" if registration is None else registration.sha256,
        "commit": "" if registration is None else registration.commit,
        "samples": "" if picture is None else f"{planned.key.name}{picture.suffix}",
        "taken_from": result.taken_from or f"{result.study}/{result.key.name}",
    }
    return Taken(result.model_copy(update=facts), picture)


def save_taken(taken: Taken, folder: Path) -> RunResult:
    """Write a result of another study, and the picture of its samples, to the folder of a study; return it.

    Args:
        taken: The result.
        folder: Folder of the results of the study.

    Raises:
        OSError: A file cannot be written.
    """
    result = taken.result
    if taken.picture is not None:
        try:
            content = read_picture(taken.picture)
        except OSError:  # pictures are not always kept
            result = result.model_copy(update={"samples": ""})
        else:
            with replacing(result_path(result.key, folder).with_suffix(taken.picture.suffix)) as fresh:
                fresh.write_bytes(content)
    save_result(result, folder)
    return result
