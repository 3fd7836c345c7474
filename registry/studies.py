"""Studies: the training recipe of each entry at the study's budget."""

from __future__ import annotations

from registry.costs.card import make_card
from specs.graph import EntryGraph
from specs.recipe import Recipe
from specs.schemas.study import Study

__all__ = ["study_recipe"]


def study_recipe(study: Study, graph: EntryGraph) -> Recipe:
    """Return the recipe of one entry: one phase per level, innermost first, each with the same share of the budget.

    Args:
        study: Study with its budget of training FLOPs per entry.
        graph: Graph of the entry.
    """
    labels = list(reversed(graph.labels))
    phases = {}
    for label in labels:
        cost = make_card(graph.inner(label)).training_flops * study.recipe.batch
        steps = max(1, round(study.budget.training_flops / len(labels) / cost))
        phases[f"p{label.removeprefix('r')}"] = {"train": label, "steps": steps, "batch": study.recipe.batch}
    common = study.recipe.model_dump(mode="python", exclude={"batch"}, exclude_unset=True)
    if graph.classes is None:
        common.pop("drop", None)
    facts = {
        "name": f"{study.name}-{graph.name}",
        "summary": f"{graph.name} in the study {study.name}",
        "entry": graph.name,
        "data": study.data,
        "phases": phases,
    }
    return Recipe.model_validate(common | facts)
