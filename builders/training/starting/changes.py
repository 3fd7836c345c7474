"""Differences between the recipe of a run and the one it is resumed with, and which of them extend the run."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from builders.training.state import RunProgress
from specs.printable import printable
from specs.recipe_identity import facts, renamed_weightings, saved_recipe
from specs.schemas.recipe import PhaseSpec, Recipe
from specs.syntax.overrides import set_option

__all__ = [
    "differences",
    "extension_problem",
    "is_extended",
    "only_lengths_differ",
    "recipe_changes",
    "rounding_changes",
    "weighting_advice",
]

LENGTH = ("steps", "hours")
#: Settings that change results by rounding only.
_ROUNDING = ("channels_last", "compile")


def recipe_changes(before: Recipe, now: Recipe, conditions: Collection[str], progress: RunProgress | None) -> str:
    """Describe what differs between two recipes and affects weights that are trained already; empty if nothing does.

    The length of the current phase, of which a part is trained, is left to :func:`extension_problem`. Later phases may
    have another length, and there may be more of them.

    Args:
        before: Recipe of the run so far.
        now: Recipe to resume it with.
        conditions: Conditions of the entry, of "classes" and "text".
        progress: Progress of the run. None if no change is allowed.
    """
    old, new = facts(before, conditions), facts(now, conditions)
    phases = list(before.phases)
    if progress is not None and list(now.phases)[: len(phases)] == phases:
        new["phases"] = {name: phase for name, phase in new["phases"].items() if name in before.phases}
        for name in phases[phases.index(progress.phase) :]:
            for phase in (old["phases"][name], new["phases"][name]):
                for key in LENGTH:
                    phase.pop(key, None)
    elif list(now.phases) != phases and not differences(old, new):
        return "the order of its phases"
    return ", ".join(differences(old, new))


def only_lengths_differ(before: Recipe, now: Recipe, conditions: Collection[str]) -> bool:
    """Return whether two recipes are equal but for the lengths of their phases."""
    old, new = facts(before, conditions), facts(now, conditions)
    for phase in [*old["phases"].values(), *new["phases"].values()]:
        for key in LENGTH:
            phase.pop(key, None)
    return not differences(old, new)


def is_extended(before: Recipe, now: Recipe, progress: RunProgress) -> bool:
    """Return whether the current phase of a run has another length than before."""
    one, other = before.phases[progress.phase], now.phases[progress.phase]
    return (one.steps, one.hours) != (other.steps, other.hours)


def extension_problem(before: Recipe, now: Recipe, progress: RunProgress) -> str:
    """Say why the current phase of a run cannot have the length that a recipe gives it; empty if it can.

    The steps done so far must be the same at the new length, so that the result is that of an uninterrupted run.
    """
    name = progress.phase
    one, other = before.phases[name], now.phases[name]
    change = f"phases.{printable(name)}: {_length(one)}, now {_length(other)}"
    if (one.steps is None) != (other.steps is None):
        return f"{change}; the unit cannot change"
    if other.steps is not None and other.steps <= progress.step:
        return f"{change}; {progress.step} steps are done, so choose more: {set_option('phases', name, 'steps')}"
    if other.hours is not None and 3600 * other.hours <= progress.seconds:
        done = f"{progress.seconds / 3600:.2g} hours are done"
        return f"{change}; {done}, so choose more: {set_option('phases', name, 'hours')}"
    schedule = now.schedule_of(other)
    more = "{" + f"train: {other.train}, steps: {_more(one, other)}, batch: {_batch(other)}" + "}"
    longer = other.steps is None or one.steps is None or other.steps > one.steps
    advice = f"; add a phase instead: {set_option('phases', f'{name}-more', value=more)}" if longer else ""
    if schedule.decay != "constant":
        return (
            f"{change}; the learning rate decays over the phase ({schedule.decay}), so its steps would differ{advice}"
        )
    if one.steps is not None and other.steps is not None and schedule.warmup > min(one.steps, other.steps):
        return f"{change}; the warmup of {schedule.warmup} steps is longer than the phase, so it would differ{advice}"
    return ""


def rounding_changes(before: str, now: Recipe) -> str:
    """Describe the changed settings with which a resumed run differs from an uninterrupted one by rounding.

    Args:
        before: Recipe of the run as its checkpoint has it, JSON.
        now: Recipe to resume it with.
    """
    old = saved_recipe(before)
    then, present = ({key: getattr(each, key) for key in _ROUNDING} for each in (old, now))
    return ", ".join(differences(then, present))


def weighting_advice(before: str, now: Recipe) -> str:
    """Say how to resume a run of a version before 0.2 whose weighting "sigmoid" has another name now; else empty.

    Args:
        before: Recipe of the run as its checkpoint has it, JSON.
        now: Recipe to resume it with.
    """
    try:
        renamed = [keys for keys in renamed_weightings(before) if keys[1] in now.phases or len(keys) == 2]
    except ValueError:
        return ""
    if not renamed:
        return ""
    options = " ".join(set_option(*keys, value="soft_min_snr") for keys in renamed)
    return f"; 'sigmoid' of the version that wrote the run is now called soft_min_snr: {options}"


def differences(old: Any, new: Any, path: str = "") -> list[str]:
    """List the differences between two recipes: ``optimizer.learning_rate (0.001, now 0.002)``."""
    if isinstance(old, dict) and isinstance(new, dict):
        return [
            found
            for key in {**old, **new}
            for found in differences(old.get(key), new.get(key), f"{path}.{key}".strip("."))
        ]
    if old == new:
        return []
    path = printable(path)
    if isinstance(old, dict) and new is None:
        return [f"{path} (removed)"]
    if isinstance(new, dict) and old is None:
        return [f"{path} (added)"]
    return [f"{path} ({_shown(old)}, now {_shown(new)})"]


def _shown(value: Any) -> str:
    return "not set" if value is None else printable(str(value))


def _length(phase: PhaseSpec) -> str:
    return f"{phase.steps} steps" if phase.steps is not None else f"{phase.hours} hours"


def _more(before: PhaseSpec, now: PhaseSpec) -> int:
    """Return the steps that a phase is to get in addition, or 100 if it is limited by hours."""
    return max(1, (now.steps or 0) - (before.steps or 0)) if now.steps is not None else 100


def _batch(phase: PhaseSpec) -> str:
    if isinstance(phase.batch, int):
        return str(phase.batch)
    return "{" + ", ".join(f"{label}: {rows}" for label, rows in phase.batch.items()) + "}"
