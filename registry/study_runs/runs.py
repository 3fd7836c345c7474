"""The runs of a study: every arm with every seed, and before them those of the search."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from registry.studies import StudyError
from registry.study_runs.lengths import check_costs, recipe_of_arm, training_flops
from registry.study_runs.results import RunKey, RunResult
from specs.arms import Arm, LoadedArmStudy, arm_with_setting
from specs.graph import EntryGraph
from specs.recipe_identity import fingerprint
from specs.schemas.recipe import Recipe

__all__ = ["PlannedRun", "StudyRuns", "chosen_setting"]

Setting = float | int | str | bool


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """A run that can start.

    Attributes:
        key: Arm, seed, and place in the search.
        setting: Value of the searched setting; None without a search.
        recipe: Its recipe.
        graph: Graph of its entry.
        flops: FLOPs of its training.
    """

    key: RunKey
    setting: Setting | None
    recipe: Recipe
    graph: EntryGraph
    flops: int

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the recipe."""
        return fingerprint(self.recipe, self.graph.conditions)


class StudyRuns:
    """All runs of a study.

    Args:
        loaded: The study.

    Raises:
        StudyError: The arms do not cost the budget, or a phase is limited by hours.
    """

    def __init__(self, loaded: LoadedArmStudy) -> None:
        self.loaded, self.study = loaded, loaded.study
        self._built: dict[tuple[str, Setting | None], tuple[Recipe, EntryGraph, int]] = {}
        values: Sequence[Setting | None] = (None,) if self.study.search is None else self.study.search.values
        flops, wanted = {}, {}
        for arm in loaded.arms:
            for value in values:
                name = arm.name if value is None else f"{arm.name} with {self.study.search.set}={value}"  # type: ignore[union-attr]
                flops[name], wanted[name] = self._recipe(arm, value)[2], self.study.training_flops(arm.name)
        check_costs(flops, wanted, self.study.budget)

    def search_keys(self, arm: str | None = None) -> list[RunKey]:
        """Return the runs of the search, of one arm or of all."""
        search = self.study.search
        if search is None:
            return []
        names = [each.name for each in self.loaded.arms] if arm is None else [arm]
        return [
            RunKey(arm=name, seed=seed, searched=place)
            for seed in search.seeds
            for name in names
            for place in range(len(search.values))
        ]

    def main_keys(self) -> list[RunKey]:
        """Return the runs without those of the search: all arms with the first seed, then with the next one."""
        return [RunKey(arm=arm.name, seed=seed) for seed in self.study.seeds for arm in self.loaded.arms]

    def all_keys(self) -> list[RunKey]:
        """Return all runs, those of the search first."""
        return [*self.search_keys(), *self.main_keys()]

    def planned(self, key: RunKey, results: Mapping[RunKey, RunResult]) -> PlannedRun | None:
        """Return a run with its recipe, or None if the search of its arm is not finished.

        Args:
            key: The run.
            results: Results so far.

        Raises:
            StudyError: All runs of the search of its arm failed.
        """
        arm, setting = self.loaded.arm(key.arm), None
        if self.study.search is not None:
            if key.searched is not None:
                setting = self.study.search.values[key.searched]
            else:
                found = [results.get(each) for each in self.search_keys(key.arm)]
                if None in found:
                    return None
                setting = chosen_setting(self.loaded, key.arm, results)
        recipe, graph, flops = self._recipe(arm, setting)
        return PlannedRun(key, setting, recipe.model_copy(update={"seed": key.seed}), graph, flops)

    def example(self, arm: str) -> PlannedRun:
        """Return a run of an arm as a plan shows it: with the first value of the search, if there is one."""
        setting = None if self.study.search is None else self.study.search.values[0]
        recipe, graph, flops = self._recipe(self.loaded.arm(arm), setting)
        return PlannedRun(RunKey(arm=arm, seed=self.study.seeds[0]), setting, recipe, graph, flops)

    def check_results(self, results: Mapping[RunKey, RunResult]) -> None:
        """Check that results are of the study as it is now.

        Raises:
            StudyError: Some have another recipe or entry; the message lists them.
        """
        wrong = []
        for key in self.all_keys():
            result = results.get(key)
            planned = None if result is None or result.status == "failed" else self.planned(key, results)
            if result is None or planned is None:
                continue
            for what, old, new in _differences(result, planned):
                wrong.append(f"{key.name}: its {what} was {old}, now {new}")
        if wrong:
            advice = (
                "the study, an entry or the search has changed: move these results away, or use the study as it was"
            )
            raise StudyError("\n  ".join([f"results of {self.study.name} are of another study:", *wrong, advice]))

    def _recipe(self, arm: Arm, setting: Setting | None) -> tuple[Recipe, EntryGraph, int]:
        key = (arm.name, setting)
        if key not in self._built:
            search = self.study.search
            if search is not None and setting is not None:
                arm = arm_with_setting(arm, search.set, setting)
            recipe = recipe_of_arm(arm, self.study.budget)
            self._built[key] = (recipe, arm.graph, training_flops(recipe, arm.graph))
        return self._built[key]


def _differences(result: RunResult, planned: PlannedRun) -> Iterator[tuple[str, Any, Any]]:
    if result.hash != planned.graph.hash:
        yield "entry", f"{result.entry} {result.hash}", f"{planned.graph.name} {planned.graph.hash}"
    elif result.setting != planned.setting:
        yield "searched setting", result.setting, planned.setting
    elif result.recipe != planned.fingerprint:
        yield "recipe", result.recipe, planned.fingerprint


def chosen_setting(loaded: LoadedArmStudy, arm: str, results: Mapping[RunKey, RunResult]) -> Setting:
    """Return the value of the search that an arm takes: that with the best mean over the seeds of the search.

    A value with a failed run is not taken. Of equal ones, the first is.

    Args:
        loaded: The study, which has a search.
        arm: Name of the arm.
        results: Results, with all runs of the search of the arm.

    Raises:
        StudyError: Every value has a failed run, or a result without the measure.
    """
    search = loaded.study.search
    assert search is not None
    means: dict[int, float] = {}
    for place in range(len(search.values)):
        found = [results[RunKey(arm=arm, seed=seed, searched=place)] for seed in search.seeds]
        if all(each.status == "finished" and search.by in each.measures for each in found):
            means[place] = fmean(each.measures[search.by] for each in found)
    if not means:
        raise StudyError(
            f"the search of {loaded.study.name} has no value of {search.by} for arm {arm} on all its seeds, so the arm "
            "has no setting; see 'failure' in the results"
        )
    sign = 1 if search.best == "lowest" else -1
    return search.values[min(means, key=lambda place: (sign * means[place], place))]
