"""``zoo.plan``: what a training takes, before it is started."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.api.recipes import requested_recipe
from zoo.api.words import python_names

if TYPE_CHECKING:
    from registry.costs.planning import Plan
    from specs.recipe import Recipe

__all__ = ["plan", "planned"]


def plan(
    recipe: str | os.PathLike[str] | Recipe,
    data: str | os.PathLike[str] | None = None,
    *,
    accelerator: str | os.PathLike[str] | None = None,
    count: int = 1,
    efficiency: float = 0.4,
    price: float | None = None,
    steps: int | None = None,
    classes: int | str | None = None,
    overrides: Sequence[str] = (),
) -> Plan:
    """Return memory, FLOPs, time and cost of a training by phase, as ``zoo plan``; nothing is built.

    Args:
        recipe: Name or path of a recipe, or a :class:`specs.recipe.Recipe`; with ``data``, name or path of an entry.
        data: Dataset to train an entry on, level by level.
        accelerator: Name of an accelerator, such as ``"h100"``, or path of its file. Default: the GPU at hand, or this
            machine.
        count: Number of accelerators, each with a process of its own.
        efficiency: Share of the peak rate that a step reaches, from 0 to 1 (model FLOPs utilisation).
        price: Price of an hour of one accelerator. Default: that of its file, or none.
        steps: Total steps over all levels, with ``data``.
        classes: Number of classes of the entry in place of its own, 0 for none.
        overrides: Changes such as ``phases.p16.batch=100``; not with a :class:`specs.recipe.Recipe`.

    Returns:
        The plan. ``plan.fits`` says whether every phase fits, ``plan.fitted`` is the recipe with ``plan.changes``.

    Raises:
        LookupError: There is no such recipe, entry or accelerator.
        ValueError: A file has errors, an argument is out of range, or the accelerator lacks the precision.
        TypeError: An argument has another type.
    """
    with python_names(steps="steps"):
        return planned(
            recipe, data, accelerator=accelerator, count=count, efficiency=efficiency, price=price, steps=steps,
            classes=classes, overrides=overrides,
        )  # fmt: skip


def planned(
    recipe: Any,
    data: Any,
    *,
    accelerator: Any,
    count: int,
    efficiency: float,
    price: float | None,
    steps: int | None,
    classes: int | str | None,
    overrides: Sequence[str],
) -> Plan:
    """Return a plan; arguments and errors are those of :func:`plan`, and messages name options."""
    from registry.costs.device import planned_device
    from registry.costs.planning import plan_recipe
    from specs.recipe import recipe_graph
    from specs.schemas.recipe import Recipe

    if isinstance(recipe, Recipe):
        if overrides or (data, steps, classes) != (None, None, None):
            raise ValueError("a Recipe has its own data, steps and classes; change it, or pass the name of its file")
        found, graph = recipe, recipe_graph(recipe)
    elif isinstance(recipe, (str, os.PathLike)):
        source = None if data is None else os.fspath(data)
        what = recipe if isinstance(recipe, str) else Path(recipe)
        changes = [overrides] if isinstance(overrides, str) else overrides
        found, graph = requested_recipe(what, changes, data=source, steps=steps, classes=classes)
    else:
        raise TypeError(f"a recipe is a name, a path or a Recipe, not {type(recipe).__name__}")
    device = planned_device(accelerator)
    price = device.price if price is None else price
    return plan_recipe(found, graph, device, count=count, efficiency=efficiency, price=price)
