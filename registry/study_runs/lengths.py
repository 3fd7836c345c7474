"""Lengths of the phases of an arm at the cost of its study. Nothing is built, no torch."""

from __future__ import annotations

from collections.abc import Mapping

from registry.costs.requirements import phase_costs
from registry.studies import StudyError
from specs.arms import Arm
from specs.errors import quote
from specs.graph import EntryGraph
from specs.schemas.arms import CostSpec
from specs.schemas.recipe import Recipe

__all__ = ["check_costs", "flops_by_phase", "recipe_of_arm", "step_flops", "training_flops"]


def step_flops(recipe: Recipe, graph: EntryGraph, phase: str) -> int:
    """Return the FLOPs of a training step of a phase, forward and backward, as ``zoo plan`` counts them."""
    found = recipe.phases[phase]
    rows = found.rows(graph.inner(found.train).labels)
    return phase_costs(recipe, graph, found).flops(rows, again=False)


def flops_by_phase(recipe: Recipe, graph: EntryGraph) -> dict[str, int]:
    """Return the training FLOPs of every phase.

    Raises:
        StudyError: A phase is limited by hours.
    """
    found = {}
    for name, phase in recipe.phases.items():
        if phase.steps is None:
            message = (
                "a phase of a study has 'steps', or a 'share' of the budget, because hours differ between machines"
            )
            raise StudyError(f"{recipe.name}, phase {quote(name)}: {message}")
        found[name] = phase.steps * step_flops(recipe, graph, name)
    return found


def training_flops(recipe: Recipe, graph: EntryGraph) -> int:
    """Return the FLOPs of all phases."""
    return sum(flops_by_phase(recipe, graph).values())


def recipe_of_arm(arm: Arm, budget: CostSpec) -> Recipe:
    """Return the recipe of an arm in which phases with a share of the budget have steps.

    A phase gets the steps that are nearest to its share. The last one of them also gets what rounding left, or less
    what it took, if the shares are the whole budget.

    Args:
        arm: The arm.
        budget: Cost of a run.
    """
    recipe, whole = arm.recipe, budget.training_flops * arm.spec.cost
    left = whole * sum(arm.shares.values())
    phases = dict(recipe.phases)
    names = [name for name in phases if name in arm.shares]
    for name in names:
        share = left if name == names[-1] else whole * arm.shares[name]
        cost = step_flops(recipe, arm.graph, name)
        steps = max(1, round(share / cost))
        left -= steps * cost
        phases[name] = phases[name].model_copy(update={"steps": steps})
    return recipe.model_copy(update={"phases": phases})


def check_costs(flops: Mapping[str, float], wanted: Mapping[str, float], budget: CostSpec) -> None:
    """Check that every arm takes its part of the budget of its study.

    Args:
        flops: Training FLOPs by arm.
        wanted: FLOPs that it should take, by arm.
        budget: Cost of a run.

    Raises:
        StudyError: An arm takes more or less; the message lists all of them.
    """
    wrong = []
    for name, each in flops.items():
        excess = each / wanted[name] - 1
        if abs(excess) > budget.tolerance:
            wrong.append(f"arm {name}: {each:.4g} training FLOPs, {100 * excess:+.1f} % of the budget")
    if wrong:
        advice = (
            f"a run may differ by {100 * budget.tolerance:g} % (budget.tolerance); give its phases a 'share' of the "
            "budget, or other 'steps'"
        )
        head = f"the arms do not cost the budget of {budget.training_flops:.4g} training FLOPs:"
        raise StudyError("\n  ".join([head, *wrong, advice]))
