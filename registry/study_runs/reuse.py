"""Results of other studies that a study takes, where a run of theirs is equal to one of its own.

Entry, recipe, seed and number of threads decide what a run gives. Two studies that measure it alike would train it
twice, with the same result.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builders.files import read_regular, replacing
from registry.measures.arguments import ErrorArguments, parse_measures
from registry.study_runs.registration import Registration
from registry.study_runs.results import RunKey, RunResult, read_results, result_path, save_result
from registry.study_runs.runs import PlannedRun, StudyRuns
from specs.arms import LoadedArmStudy, load_arm_study
from specs.schemas.arms import ArmStudy

__all__ = ["OtherStudy", "equal_results", "other_studies", "save_taken"]

#: Largest picture of samples in bytes.
MAX_PICTURE = 20_000_000
#: Keys of a recipe that its fingerprint leaves out, but that decide on curves, or on the last digits of weights.
COUNTED = ("validation", "every", "compile", "channels_last")


@dataclass(frozen=True, slots=True)
class OtherStudy:
    """A study whose results are reused.

    Attributes:
        loaded: The study.
        folder: Folder of its results.
        results: Its results.
        sha256: Hash of its file, which its registered results name unless it has changed since.
    """

    loaded: LoadedArmStudy
    folder: Path
    results: tuple[RunResult, ...]
    sha256: str


def other_studies(
    loaded: LoadedArmStudy, results: Path, *, search: Sequence[Path] | None = None
) -> tuple[OtherStudy, ...]:
    """Return the studies that a study reuses, with their results so far.

    Args:
        loaded: The study.
        results: Folder of its results; those of the others are beside it.
        search: As for :func:`specs.arms.load_arm_study`.

    Raises:
        SpecError: One of the studies has errors.
        ValueError: A file is not a result.
    """
    found = []
    for name in loaded.study.reuse:
        other = load_arm_study(name, search=search)
        folder, digest = results.parent / other.study.name, hashlib.sha256(read_regular(other.path)).hexdigest()
        found.append(OtherStudy(other, folder, read_results(folder), digest))
    return tuple(found)


def equal_results(
    runs: StudyRuns,
    results: Mapping[RunKey, RunResult],
    others: Sequence[OtherStudy],
    registration: Registration | None = None,
) -> dict[RunKey, tuple[RunResult, Path | None]]:
    """Return results of runs without one that other studies have, each with the picture of its samples.

    Args:
        runs: Runs of the study.
        results: Its results so far.
        others: Studies that it reuses.
        registration: Its registration; None if it is exploratory.
    """
    found: dict[RunKey, tuple[RunResult, Path | None]] = {}
    while others:
        known = {**results, **{key: result for key, (result, _) in found.items()}}
        fresh = dict(_equal(runs, known, others, registration))
        if not fresh:
            break
        found |= fresh  # with those of a search, the runs of its arm are known
    return found


def _equal(
    runs: StudyRuns,
    results: Mapping[RunKey, RunResult],
    others: Sequence[OtherStudy],
    registration: Registration | None,
) -> Iterator[tuple[RunKey, tuple[RunResult, Path | None]]]:
    for key in runs.all_keys():
        planned = None if key in results else runs.planned(key, results)
        if planned is None:
            continue
        for other in others:
            taken = _taken(runs.study, planned, other, registration)
            if taken is not None:
                yield key, taken
                break


def _taken(
    study: ArmStudy, planned: PlannedRun, other: OtherStudy, registration: Registration | None
) -> tuple[RunResult, Path | None] | None:
    """Return the result of a run from another study that has an equal one."""
    if study.evaluation != other.loaded.study.evaluation:
        return None
    for result in other.results:
        if (result.exploratory and registration is not None) or not _is_equal(study, planned, other, result):
            continue
        measures = _measures(study, planned.key, other.loaded.study, result)
        if measures is None:
            continue
        picture = _picture(other.folder, result)
        facts: dict[str, Any] = {
            "study": study.name,
            **planned.key.model_dump(),
            "setting": planned.setting,
            "exploratory": registration is None,
            "registered": "" if registration is None else registration.sha256,
            "commit": "" if registration is None else registration.commit,
            "measures": measures,
            "samples": "" if picture is None else f"{planned.key.name}{picture.suffix}",
            "taken_from": result.taken_from or f"{result.study}/{result.key.name}",
        }
        return result.model_copy(update=facts), picture
    return None


def _picture(folder: Path, result: RunResult) -> Path | None:
    # A name in a file of results may not lead out of its folder.
    return folder / result.samples if result.samples and Path(result.samples).name == result.samples else None


def _is_equal(study: ArmStudy, planned: PlannedRun, other: OtherStudy, result: RunResult) -> bool:
    """Return whether a result is that of a run, made by a study that is still as it was then."""
    mine = (planned.graph.hash, planned.fingerprint, planned.key.seed, study.budget.threads)
    if result.status != "finished" or mine != (result.hash, result.recipe, result.seed, result.threads):
        return False
    recipe = next((arm.recipe for arm in other.loaded.arms if arm.name == result.arm), None)
    if recipe is None or not (result.exploratory or result.registered == other.sha256):
        return False
    return all(getattr(planned.recipe, key) == getattr(recipe, key) for key in COUNTED)


def _measures(study: ArmStudy, key: RunKey, other: ArmStudy, result: RunResult) -> dict[str, float] | None:
    """Return the measures of a result as a study wants them; None if it wants others."""
    wanted = parse_measures(study.measures_of(key.searched is not None))
    there = parse_measures(other.measures_of(result.searched is not None))
    ratios = wanted["p1"].log_snrs if "p1" in wanted else ()
    if _without_ratios(wanted) != _without_ratios(there):
        return None
    if wanted == there:
        return result.measures
    from builders.measures.clean_error import mean_error

    # The errors of all ratios are stored, so the mean of others follows from them.
    errors = {each: result.measures[f"p1/{each:g}"] for each in ratios if f"p1/{each:g}" in result.measures}
    return {**result.measures, "p1": mean_error(errors, ratios)} if len(errors) == len(ratios) else None


def _without_ratios(measures: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: each.model_copy(update={"log_snrs": ()}) if isinstance(each, ErrorArguments) else each
        for name, each in measures.items()
    }


def save_taken(key: RunKey, result: RunResult, picture: Path | None, folder: Path) -> RunResult:
    """Write a result of another study, and the picture of its samples, to the folder of a study; return it.

    Args:
        key: The run.
        result: Its result.
        picture: Picture of its samples in the folder of the other study; None if it has none.
        folder: Folder of the results of the study.

    Raises:
        OSError: A file cannot be written.
    """
    if picture is not None:
        try:
            content = read_regular(picture, MAX_PICTURE)
        except OSError:  # pictures are not always kept
            result = result.model_copy(update={"samples": ""})
        else:
            with replacing(result_path(key, folder).with_suffix(picture.suffix)) as fresh:
                fresh.write_bytes(content)
    save_result(result, folder)
    return result
