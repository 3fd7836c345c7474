"""Plans of studies: runs, FLOPs, time and power, before anything is trained."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from registry.environment import hardware
from registry.statistics.power import can_reject, smallest_effect, study_power
from registry.study_runs.results import RunKey, RunResult
from registry.study_runs.runs import PlannedRun, StudyRuns
from specs.schemas.arms import ContrastSpec

__all__ = ["ArmPlan", "ContrastPlan", "StudyPlan", "plan_study", "step_seconds"]

#: Steps that are timed of each phase, after one that is not.
TIMED = 3


@dataclass(frozen=True, slots=True)
class ArmPlan:
    """What an arm takes.

    Attributes:
        arm: Name of the arm.
        entry: Name of its entry.
        steps: Steps by phase.
        flops: Training FLOPs of a run.
        excess: Difference of the FLOPs from the budget, relative to it.
        runs: Runs of all seeds, and of the search.
        finished: Runs that have a result.
        failed: Those of them that failed.
        seconds: Expected seconds of training of a run; None if it is unknown.
        measuring: Expected seconds of measuring a run of a seed; None if none has been measured.
        searches: Runs of the search without a result.
        search_measuring: Expected seconds of measuring a run of the search, which has one measure alone.
        measured: Whether the seconds are those of finished runs on this hardware.
    """

    arm: str
    entry: str
    steps: dict[str, int]
    flops: int
    excess: float
    runs: int
    finished: int
    failed: int
    seconds: float | None = None
    measuring: float | None = None
    searches: int = 0
    search_measuring: float | None = None
    measured: bool = False

    @property
    def left(self) -> int:
        """Runs without a result."""
        return self.runs - self.finished


@dataclass(frozen=True, slots=True)
class ContrastPlan:
    """What a contrast can find.

    Attributes:
        name: Name of the contrast.
        primary: Whether Holm's correction counts it.
        power: Probability to find its effect at its spread; None if the study names none.
    """

    name: str
    primary: bool
    power: float | None


@dataclass(frozen=True, slots=True)
class StudyPlan:
    """Plan of a study.

    Attributes:
        name: Name of the study.
        pairs: Number of seeds.
        arms: Plans of its arms.
        contrasts: Plans of its contrasts.
        primary: Number of primary contrasts with a test.
        possible: Whether a primary contrast can be significant at all with so many seeds.
        smallest: Effect that is found with a probability of 80 %, in standard deviations of the paired difference;
            None without a primary contrast or if none is.
        hardware: Hardware of the times.
        threads: Threads of a run.
    """

    name: str
    pairs: int
    arms: tuple[ArmPlan, ...]
    contrasts: tuple[ContrastPlan, ...]
    primary: int
    possible: bool
    smallest: float | None
    hardware: str
    threads: int

    @property
    def flops(self) -> float:
        """Training FLOPs of all runs."""
        return float(sum(arm.runs * arm.flops for arm in self.arms))

    @property
    def seconds_left(self) -> float | None:
        """Expected seconds of what is missing, one run after another; None if a time is unknown."""
        total = 0.0
        for arm in self.arms:
            if arm.left and arm.seconds is None:
                return None
            total += arm.left * (arm.seconds or 0.0) + (arm.left - arm.searches) * (arm.measuring or 0.0)
            total += arm.searches * (arm.search_measuring or 0.0)
        return total


def plan_study(
    runs: StudyRuns, results: Mapping[RunKey, RunResult], *, device: str = "cpu", timed: bool = True
) -> StudyPlan:
    """Return the plan of a study.

    Args:
        runs: The runs of the study.
        results: Results so far. Their times count where they are of this hardware.
        device: Device of the times.
        timed: Whether to time a few steps of arms that have no result from this hardware.
    """
    study, where = runs.study, hardware(device)
    own = [each for each in results.values() if each.environment.get("hardware") == where and each.seconds]
    arms = []
    for arm in runs.loaded.arms:
        example = runs.example(arm.name)
        keys = [key for key in runs.all_keys() if key.arm == arm.name]
        found = [results[key] for key in keys if key in results]
        past = [each.seconds for each in own if each.arm == arm.name and each.status == "finished"]
        seconds = fmean(past) if past else (expected_seconds(example, study.budget.threads, device) if timed else None)
        arms.append(
            ArmPlan(
                arm=arm.name,
                entry=example.graph.name,
                steps={name: phase.steps or 0 for name, phase in example.recipe.phases.items()},
                flops=example.flops,
                excess=example.flops / study.training_flops(arm.name) - 1,
                runs=len(keys),
                finished=len(found),
                failed=sum(each.status == "failed" for each in found),
                seconds=seconds,
                measuring=_measuring(own, arm.name, search=False),
                searches=sum(key.searched is not None and key not in results for key in keys),
                search_measuring=_measuring(own, arm.name, search=True),
                measured=bool(past),
            )
        )
    return StudyPlan(
        name=study.name, pairs=len(study.seeds), arms=tuple(arms), contrasts=_contrasts(runs),
        primary=len(study.tested), hardware=where, threads=study.budget.threads, **_power(runs),
    )  # fmt: skip


def _measuring(results: Sequence[RunResult], arm: str, *, search: bool) -> float | None:
    """Return the mean seconds of measuring a run of an arm, or of all arms if it has none; None without any."""
    spent = [each for each in results if each.measuring_seconds and (each.searched is not None) == search]
    times = [each.measuring_seconds for each in ([each for each in spent if each.arm == arm] or spent)]
    return fmean(times) if times else None


def _contrasts(runs: StudyRuns) -> tuple[ContrastPlan, ...]:
    study, pairs, found = runs.study, len(runs.study.seeds), []
    effects = {name: _effect(contrast) for name, contrast in study.contrasts.items()}
    family = [effects[name] or 0.0 for name in study.tested]
    sides = [_one_sided(each) for each in study.tested.values()]
    together = study_power(family, pairs, study.alpha, one_sided=sides) if any(family) else [0.0] * len(family)
    powers = dict(zip(study.tested, together, strict=True))
    for name, contrast in study.contrasts.items():
        effect = effects[name]
        if effect is None:
            power = None
        elif contrast.primary:
            power = powers[name]
        else:
            power = study_power([effect], pairs, study.alpha, one_sided=[_one_sided(contrast)])[0]
        found.append(ContrastPlan(name, contrast.primary, power))
    return tuple(found)


def _effect(contrast: ContrastSpec) -> float | None:
    """Return the effect of a contrast in standard deviations of the paired difference; None if it names none."""
    if contrast.effect is None or contrast.spread is None or contrast.test == "none":
        return None
    return contrast.effect / contrast.spread


def _one_sided(contrast: ContrastSpec) -> bool:
    return contrast.alternative != "two-sided"


def _power(runs: StudyRuns) -> dict[str, Any]:
    """Return what the primary contrasts can find: with two-sided tests, unless all of them are one-sided."""
    study, count = runs.study, len(runs.study.tested)
    if not count:
        return {"possible": True, "smallest": None}
    sides = [_one_sided(each) for each in study.tested.values()]
    possible = can_reject(len(study.seeds), count, study.alpha, one_sided=any(sides))
    smallest = smallest_effect(len(study.seeds), count, alpha=study.alpha, one_sided=all(sides)) if possible else None
    return {"possible": possible, "smallest": smallest}


def expected_seconds(planned: PlannedRun, threads: int, device: str = "cpu") -> float | None:
    """Return the expected seconds of training of a run, from a few steps of each phase on random images.

    None for an entry that reads text, whose encoder would have to be loaded.
    """
    if planned.graph.text is not None:
        return None
    return sum(
        (phase.steps or 0) * step_seconds(planned, name, threads, device)
        for name, phase in planned.recipe.phases.items()
    )


def step_seconds(planned: PlannedRun, phase: str, threads: int, device: str = "cpu") -> float:
    """Return the seconds of a training step of a phase on random images, without reading data.

    Args:
        planned: The run.
        phase: Name of the phase.
        threads: Threads on the CPU.
        device: Device.
    """
    import torch

    from builders.training.distributed import Processes
    from builders.training.phase import Phase
    from builders.training.settings import phase_settings

    settings = phase_settings(planned.recipe, planned.graph, phase)
    before, state = torch.get_num_threads(), torch.get_rng_state()
    torch.set_num_threads(threads)
    try:
        made = Phase(settings, Processes(device))
        batch = _random_batch(made)
        made.step(0, batch)
        # Of one thread, other programs on the machine take no processor time.
        clock = time.process_time if threads == 1 and device == "cpu" else time.perf_counter
        begun = clock()
        for step in range(1, TIMED + 1):
            made.step(step, batch)
        return (clock() - begun) / TIMED
    finally:
        torch.set_num_threads(before)
        torch.set_rng_state(state)


def _random_batch(phase: Any) -> Any:
    """Return a batch of random images in the shapes of a phase."""
    import torch

    from builders.training.batches import Batch
    from builders.training.reading.noise import draw_by_row

    plan = phase.plan
    drawn = draw_by_row(plan.shape, plan.times, plan.drop, 0, "plan", 0)
    graph, rows = plan.graph, len(drawn.t)
    images = [torch.zeros_like(each).uniform_(-1, 1) for each in drawn.eps]
    classes = torch.zeros(rows, dtype=torch.int64) if graph.classes is not None else None
    return Batch(images, drawn.t, drawn.eps, classes, (), None, ("",) * rows)
