"""Recipes as files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from specs.schemas.recipe import Recipe

__all__ = ["write_recipe"]


def write_recipe(recipe: Recipe, path: Path, note: str) -> None:
    """Write a recipe with everything that it extends, as YAML; ``zoo train`` reads it from any folder.

    Args:
        recipe: Recipe.
        path: File to write.
        note: Comment at its beginning.

    Raises:
        OSError: The file cannot be written; an earlier one is unchanged.
    """
    from builders.files import write_text
    from specs.expanded_yaml import json_text
    from specs.printable import printable
    from specs.recipe import recipe_graph
    from specs.recipe_identity import written

    facts = _without_none(written(recipe, recipe_graph(recipe).conditions))
    lines = [f"# {printable(note)}"]
    for key, value in facts.items():
        if key == "phases":
            lines += ["phases:", *(f"  {json_text(name)}: {json_text(phase)}" for name, phase in value.items())]
        else:
            lines.append(f"{key}: {json_text(value)}")
    write_text(path, "\n".join(lines) + "\n")


def _without_none(value: Any) -> Any:
    """Return plain data without keys that have no value."""
    if isinstance(value, dict):
        return {key: _without_none(each) for key, each in value.items() if each is not None}
    return [_without_none(each) for each in value] if isinstance(value, list) else value
