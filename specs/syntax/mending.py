"""Validate a tree further than its first errors: what later passes do not depend on is mended and reported.

A misspelled key takes its most similar name, another unknown key is left out, and a wrong value of a key that later
passes do not read takes its default. The errors are reported all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from specs.errors import Problems, closest
from specs.syntax.validation import model_at, validate_into
from specs.syntax.yaml_tree import Mapping, Tree, plain, value_at

__all__ = ["validate_mended"]

Model = TypeVar("Model", bound=BaseModel)

#: Most errors that are mended: each takes time in proportion to the size of the tree.
MOST = 100


def validate_mended(
    model: type[Model], tree: Tree, problems: Problems, subject: str, harmless: Collection[str]
) -> tuple[Model | None, Tree]:
    """Return a tree as an instance of a model, and the tree that it was read from.

    Args:
        model: Pydantic model.
        tree: Tree from :func:`specs.syntax.yaml_tree.parse`.
        problems: Receives all errors.
        subject: Name of the whole tree in messages.
        harmless: Keys whose values later passes do not read.

    Returns:
        The instance, of the mended tree if there were errors, or None if they cannot be mended; and the tree.
    """
    found = validate_into(model, tree, problems, subject)
    if found is not None or not isinstance(tree, Mapping):
        return found, tree
    mended: Tree | None = tree
    try:
        model.model_validate(plain(tree))
    except ValidationError as error:
        if error.error_count() > MOST:
            return None, tree
        for detail in error.errors(include_url=False):
            mended = None if mended is None else _mended(mended, detail["type"], detail["loc"], model, harmless)
    if mended is None:
        return None, tree
    try:
        return model.model_validate(plain(mended)), mended
    except ValidationError:
        return None, tree


def _mended(
    tree: Tree, kind: str, path: tuple[Any, ...], model: type[BaseModel], harmless: Collection[str]
) -> Tree | None:
    """Return a tree without one error, or None if it cannot be mended."""
    owner = value_at(tree, *path[:-1])
    if kind == "extra_forbidden" and isinstance(owner, Mapping):
        found = model_at(model, path[:-1])
        fields = [] if found is None else [field.alias or key for key, field in found.model_fields.items()]
        near = next((name for name in closest(path[-1], fields) if name not in owner.entries), None)
        return _changed(tree, path[:-1], lambda mapping: _renamed(mapping, path[-1], near))
    while path and value_at(tree, *path) is None:
        path = path[:-1]
    keys = [index for index, key in enumerate(path) if key in harmless]
    if not keys:
        return None
    place = path[: keys[0] + 1]
    return _changed(tree, place[:-1], lambda mapping: _renamed(mapping, place[-1], None))


def _renamed(mapping: Mapping, key: str, name: str | None) -> Mapping:
    """Return a mapping with a key renamed in its place, or left out."""
    entries = {(name if each == key else each): value for each, value in mapping.entries.items()}
    return Mapping({each: value for each, value in entries.items() if each is not None}, mapping.position)


def _changed(tree: Tree, path: tuple[Any, ...], change: Callable[[Mapping], Mapping]) -> Tree | None:
    """Return a tree with the mapping at a path changed; None if a list is on the way."""
    if not isinstance(tree, Mapping):
        return None
    if not path:
        return change(tree)
    entry = tree.entries.get(path[0])
    inner = None if entry is None else _changed(entry.value, path[1:], change)
    if entry is None or inner is None:
        return None
    return Mapping({**tree.entries, path[0]: entry._replace(value=inner)}, tree.position)
