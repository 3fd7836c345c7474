"""The recipe that a training asks for: a recipe, or an entry with data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from specs.errors import quote

if TYPE_CHECKING:
    from specs.graph import EntryGraph
    from specs.recipe import Recipe

__all__ = ["requested_recipe"]


def requested_recipe(
    recipe: str | Path,
    overrides: Sequence[str] = (),
    *,
    data: str | None = None,
    steps: int | None = None,
    classes: int | str | None = None,
) -> tuple[Recipe, EntryGraph]:
    """Return a recipe and the graph of its entry, without importing torch.

    Args:
        recipe: Name or path of a recipe; with ``data``, of an entry.
        overrides: Changes such as ``phases.p16.steps=100``.
        data: Data to train an entry on.
        steps: Steps of all phases together, with ``data``.
        classes: Number of classes of the entry in place of its own, 0 for none; "auto" for those of the data, which is
            then opened.

    Raises:
        LookupError: There is no such recipe or entry.
        ValueError: The recipe has errors, or the arguments do not go together.
    """
    if classes is None:
        return _requested(recipe, overrides, data, steps)
    found, graph = _requested(recipe, overrides, data, steps)
    count = _class_count(classes, found.data)
    if graph.classes is None:
        raise ValueError(f"{graph.name} has no classes to change: remove --classes")
    return _requested(recipe, [*overrides, f"classes={count}"], data, steps)


def _class_count(classes: int | str, data: str | Mapping[str, float]) -> int:
    """Return a number of classes, for "auto" that of the data.

    Raises:
        ValueError: This is neither a number nor "auto", or the data cannot be read.
    """
    if classes != "auto":
        text = str(classes)
        if isinstance(classes, bool) or not (text.isascii() and text.isdecimal() and len(text) < 8):
            raise ValueError(f"--classes {quote(classes)}: write auto, or the number of classes")
        return int(text)
    from builders.data.open import open_dataset
    from zoo.early.data import check_data

    check_data(data)
    return len(open_dataset(data).classes)


def _requested(
    recipe: str | Path, overrides: Sequence[str], data: str | None, steps: int | None
) -> tuple[Recipe, EntryGraph]:
    from specs.default_recipe import default_recipe_and_graph
    from specs.errors import UnknownName
    from specs.library import list_names
    from specs.recipe import list_recipes, load_recipe_and_graph

    if data is not None:
        if recipe in list_recipes():
            raise ValueError(f"{recipe} is a recipe with its own data; to change it: --set data={data}")
        return default_recipe_and_graph(str(recipe), data, overrides, steps=steps)
    if steps is not None:
        raise ValueError("--steps needs --data; to change the steps of a recipe: --set phases.NAME.steps=N")
    try:
        return load_recipe_and_graph(recipe, overrides)
    except UnknownName:
        if recipe in list_names():
            raise ValueError(f"{recipe} is an entry, not a recipe; name the data to train it on: --data DATA") from None
        raise
