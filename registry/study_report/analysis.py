"""What the results of a study of arms say: its arms with their runs, and its contrasts with their tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from registry.statistics.intervals import Estimate, mean_interval
from registry.statistics.paired import PairedComparison, adjusted_p_values, compare_pairs
from registry.study_runs.results import Curve, RunResult
from specs.schemas.arms import ArmStudy, ContrastSpec

__all__ = ["ArmResults", "ContrastResult", "StudyAnalysis", "analyse"]


@dataclass(frozen=True, slots=True)
class ArmResults:
    """The runs of an arm.

    Attributes:
        name: Name of the arm.
        summary: Its description.
        runs: Its finished runs, by seed.
        failed: Its failed runs.
        missing: Seeds without a result.
    """

    name: str
    summary: str
    runs: tuple[RunResult, ...]
    failed: tuple[RunResult, ...]
    missing: tuple[int, ...]

    def values(self, measure: str) -> dict[int, float]:
        """Return the values of a measure by seed."""
        return {run.seed: run.measures[measure] for run in self.runs if measure in run.measures}

    def estimate(self, measure: str) -> Estimate | None:
        """Return the mean of a measure over seeds with its interval; None if no run has it."""
        return _estimate(list(self.values(measure).values()))

    def mean(self, value: Callable[[RunResult], float]) -> float | None:
        """Return the mean of a number over the finished runs; None without any."""
        return sum(map(value, self.runs)) / len(self.runs) if self.runs else None

    def curves(self, name: str) -> tuple[Curve, ...]:
        """Return the curves of all finished runs under a name, those without any points left out."""
        return tuple(run.curves[name] for run in self.runs if name in run.curves and run.curves[name].values)


@dataclass(frozen=True, slots=True)
class ContrastResult:
    """A contrast with its test.

    Attributes:
        name: Name of the contrast.
        spec: The contrast in the study.
        comparison: Its arms compared; None if no seed has both values.
        adjusted: P value after Holm's adjustment, of a primary contrast; None of others.
        alpha: Level of the study.
        note: Why there is no comparison, or which seeds of the study it lacks; empty if there is nothing to say.
    """

    name: str
    spec: ContrastSpec
    comparison: PairedComparison | None
    adjusted: float | None
    alpha: float
    note: str = ""

    @property
    def tested(self) -> bool:
        """Whether the contrast has a test."""
        return self.spec.test != "none"

    @property
    def significant(self) -> bool:
        """Whether a primary contrast is significant after the adjustment."""
        return self.adjusted is not None and self.adjusted <= self.alpha

    @property
    def verdict(self) -> str:
        """The outcome in words."""
        if self.comparison is None:
            return "not measured"
        if not self.tested or not self.spec.primary:
            return "descriptive"
        if not self.significant:
            return "no difference found"
        return f"{self.spec.arms[0]} {'lower' if self.comparison.difference.value < 0 else 'higher'}"


@dataclass(frozen=True, slots=True)
class StudyAnalysis:
    """A study of arms with its results.

    Attributes:
        study: The study.
        arms: Its arms.
        contrasts: Its contrasts, the primary ones first.
        searched: Runs of the search.
        notes: What a reader must know: failed and missing runs, results that do not belong together.
    """

    study: ArmStudy
    arms: tuple[ArmResults, ...]
    contrasts: tuple[ContrastResult, ...]
    searched: tuple[RunResult, ...]
    notes: tuple[str, ...]

    @property
    def runs(self) -> tuple[RunResult, ...]:
        """All finished runs, without those of the search."""
        return tuple(run for arm in self.arms for run in arm.runs)

    @property
    def measures(self) -> tuple[str, ...]:
        """Names of all measures: those of contrasts first, then the others in order of their names."""
        there = {name for run in self.runs for name in run.measures}
        first = dict.fromkeys(each.spec.measure for each in self.contrasts if each.spec.measure in there)
        return (*first, *sorted(there - first.keys(), key=_numbers_apart))

    @property
    def curves(self) -> tuple[str, ...]:
        """Names of all curves."""
        return tuple(sorted({name for run in self.runs for name in run.curves}))

    @property
    def primary(self) -> tuple[ContrastResult, ...]:
        """The primary contrasts."""
        return tuple(each for each in self.contrasts if each.spec.primary)


def analyse(study: ArmStudy, results: Sequence[RunResult], sha256: str = "") -> StudyAnalysis:
    """Compare the arms of a study.

    A run that failed has no values; its seed is left out of the contrasts of its arm, and it is named in the notes.

    Args:
        study: The study.
        results: Results of its runs. Those of other studies, arms and seeds are left out, with a note.
        sha256: Hash of its file, which should be that which the results name; empty if it is not known.
    """
    own = [run for run in results if run.study == study.name and run.arm in study.arms]
    searched = tuple(run for run in own if run.searched is not None)
    counted = [run for run in own if run.searched is None and run.seed in study.seeds]
    arms = tuple(_arm(study, name, counted) for name in study.arms)
    others = len(results) - len(searched) - len(counted)
    notes = (*_run_notes(arms), *_origin_notes(study, counted, others, sha256))
    return StudyAnalysis(study, arms, _contrasts(study, arms), searched, notes)


def _arm(study: ArmStudy, name: str, results: Sequence[RunResult]) -> ArmResults:
    mine = {run.seed: run for run in results if run.arm == name}
    by_seed = [mine[seed] for seed in study.seeds if seed in mine]
    finished = tuple(run for run in by_seed if run.status == "finished")
    failed = tuple(run for run in by_seed if run.status != "finished")
    missing = tuple(seed for seed in study.seeds if seed not in mine)
    return ArmResults(name, study.arms[name].summary, finished, failed, missing)


def _contrasts(study: ArmStudy, arms: Sequence[ArmResults]) -> tuple[ContrastResult, ...]:
    by_name = {arm.name: arm for arm in arms}
    compared = {name: _compared(study, spec, by_name) for name, spec in study.contrasts.items()}
    family = list(study.tested)
    adjusted = dict(zip(family, adjusted_p_values([compared[name][0] for name in family]), strict=True))
    found = [
        ContrastResult(name, spec, compared[name][0], adjusted.get(name), study.alpha, compared[name][1])
        for name, spec in study.contrasts.items()
    ]
    return tuple(sorted(found, key=lambda each: not each.spec.primary))


def _compared(study: ArmStudy, spec: ContrastSpec, arms: dict[str, ArmResults]) -> tuple[PairedComparison | None, str]:
    """Return the arms of a contrast compared, or None, and a note."""
    first, second = (arms[name].values(spec.measure) for name in spec.arms)
    try:
        found = compare_pairs(first, second, spec.alternative, spec.scale)
    except ValueError as error:
        return None, str(error)
    if found is None:
        return None, f"no seed has {spec.measure} of both arms"
    left_out = [seed for seed in study.seeds if seed not in found.seeds]
    return found, f"without seeds {', '.join(map(str, left_out))}" if left_out else ""


def _run_notes(arms: Sequence[ArmResults]) -> Iterator[str]:
    for arm in arms:
        for run in arm.failed:
            yield f"{run.key.name} failed: {run.failure or 'no reason is given'}"
        if arm.missing:
            yield f"{arm.name}: no results of seeds {', '.join(map(str, arm.missing))}"


def _origin_notes(study: ArmStudy, runs: Sequence[RunResult], others: int, sha256: str) -> Iterator[str]:
    if others:
        yield f"{others} results of other studies, arms or seeds are left out"
    exploratory = sum(run.exploratory for run in runs)
    if exploratory:
        yield f"exploratory: {exploratory} of {len(runs)} runs were made without registration, or after a change"
    registered = {run.registered for run in runs if not run.exploratory}
    if len(registered) > 1:
        yield "the runs name different registrations"
    elif sha256 and registered - {sha256}:
        yield "the file of the study has changed since the registration that the runs name"
    for arm in study.arms:
        taken = [run.taken_from for run in runs if run.arm == arm and run.taken_from]
        if taken:
            yield f"{arm}: results of equal runs of another study: {', '.join(taken)}"
        hashes = {(run.hash, run.recipe) for run in runs if run.arm == arm}
        if len({each[0] for each in hashes}) > 1:
            yield f"{arm}: its runs trained entries of different hashes"
    costs = [run.training_flops / study.arms[run.arm].cost for run in runs if run.training_flops]
    limit = study.budget.tolerance
    off = [
        run
        for run in runs
        if run.training_flops and abs(run.training_flops / study.training_flops(run.arm) - 1) > limit
    ]
    if off:
        names = ", ".join(sorted({run.arm for run in off}))
        yield f"{names}: training FLOPs differ from the budget by more than {100 * limit:g} %"
    elif costs and max(costs) > (1 + 2 * limit) * min(costs):
        yield f"training FLOPs differ by {100 * (max(costs) / min(costs) - 1):.1f} % between runs"


def _estimate(values: Sequence[float]) -> Estimate | None:
    return mean_interval(values) if values else None


def _numbers_apart(name: str) -> tuple[str, float, str]:
    """Return a key of sorting in which ``p1/-5`` comes before ``p1/3``."""
    start, _, end = name.rpartition("/")
    try:
        return start, float(end), ""
    except ValueError:
        return name, 0.0, ""
