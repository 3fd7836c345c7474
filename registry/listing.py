"""What the zoo has besides entries: recipes, studies and datasets, as rows for tables and JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from specs.errors import SpecError, UnknownName
from specs.library import list_files

__all__ = ["LISTS", "list_rows"]


def list_rows(kind: str) -> list[dict[str, Any]]:
    """Return a row per recipe, study or dataset, in natural order.

    Args:
        kind: ``recipes``, ``studies`` or ``data``.

    Returns:
        Rows with ``name`` and facts, or ``name`` and ``error`` for a file that cannot be read.
    """
    names, describe = LISTS[kind]
    rows = []
    for name in names():
        try:
            rows.append({"name": name, **describe(name)})
        except (SpecError, UnknownName, ValueError) as error:
            rows.append({"name": name, "error": str(error)})
    return rows


def _recipe(name: str) -> dict[str, Any]:
    from specs.recipe import load_recipe

    recipe = load_recipe(name)
    steps = [phase.steps for phase in recipe.phases.values()]
    return {
        "entry": recipe.entry,
        "data": recipe.data_name,
        "phases": list(recipe.phases),
        "steps": None if None in steps else sum(step or 0 for step in steps),
        "summary": recipe.summary,
    }


def _study(name: str) -> dict[str, Any]:
    from specs.arms import load_arm_study
    from specs.library import find_file
    from specs.study import has_arms, load_study
    from specs.syntax.yaml_tree import parse

    if has_arms(parse(find_file("study", name))):
        loaded = load_arm_study(name)
        found = loaded.study
        return {
            "entries": list(dict.fromkeys(arm.graph.name for arm in loaded.arms)),
            "arms": [arm.name for arm in loaded.arms],
            "seeds": len(found.seeds),
            "data": found.data,
            "training_flops": found.budget.training_flops,
            "summary": found.summary,
        }
    study = load_study(name)
    return {
        "entries": list(study.entries),
        "data": study.data,
        "training_flops": study.budget.training_flops,
        "summary": study.summary,
    }


def _dataset(name: str) -> dict[str, Any]:
    from builders.data.dataset_card import find_dataset

    card, _ = find_dataset(name)
    return {
        "samples": {split: facts.samples for split, facts in card.splits.items()},
        "classes": len(card.classes),
        "resolution": card.resolution,
        "frames": card.frames,
        "rate": card.rate,
        "licence": card.licence,
        "summary": card.summary,
    }


def _datasets() -> tuple[str, ...]:
    from builders.data.dataset_card import list_datasets

    return list_datasets()


#: Names and description of each kind.
LISTS: dict[str, tuple[Callable[[], tuple[str, ...]], Callable[[str], dict[str, Any]]]] = {
    "recipes": (lambda: list_files("recipe"), _recipe),
    "studies": (lambda: list_files("study"), _study),
    "data": (_datasets, _dataset),
}
