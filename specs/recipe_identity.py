"""Identity of a recipe: how it is saved, and the fingerprint that tells whether a run may be resumed with it."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Collection, Mapping
from typing import Any

from specs.addresses import shown_address, without_secrets
from specs.library import SUFFIXES
from specs.schemas.held_out import ValidationSpec
from specs.schemas.memory import MemorySpec
from specs.schemas.recipe import Recipe
from specs.schemas.times import UNIFORM

__all__ = [
    "FREE", "facts", "fingerprint", "fingerprint_of_earlier_versions", "portable_data", "portable_path", "public",
    "renamed_weightings", "saved_recipe", "unset", "whole_path", "written",
]  # fmt: skip

#: Keys that may change during a run, because they do not affect the weights.
FREE = frozenset(
    {"name", "summary", "every", "checkpoints", "workers", "licence", "max_bad_steps", "evaluation", "memory"}
    | {"validation", "compile", "channels_last"}
)
#: The same keys, and those of phases, as pydantic excludes them.
_FREE: dict[str, Any] = dict.fromkeys(FREE, True) | {"phases": {"__all__": {"memory"}}}
#: Start of a path that is absolute, of the home folder, or explicitly relative. Others may be names of models.
_LOCAL = re.compile(r"[/~\\]|\.{1,2}[/\\]|[A-Za-z]:[/\\]")
_CONDITIONS = ("classes", "text")


def written(recipe: Recipe, conditions: Collection[str] = _CONDITIONS, *, portable: bool = False) -> dict[str, Any]:
    """Return a recipe as JSON that means the same when it is read from any folder; addresses are without secrets.

    Args:
        recipe: The recipe.
        conditions: Conditions of the entry, of "classes" and "text"; ``drop`` is written for these only.
        portable: Whether paths are reduced to names, see :func:`portable_path`, for files that are given to others.
    """
    recipe = public(recipe.map_paths(lambda text, _: whole_path(text)))
    if portable:
        data = {key: portable_data(sets) for key, sets in _sets(recipe).items()}
        recipe = recipe.map_paths(lambda text, keys: portable_path(text, 2 if keys[-1] == "initialise" else 1))
        recipe = recipe.model_copy(update=data)
    result = recipe.model_dump(mode="json", exclude=unset(recipe))
    result["drop"] = {kind: share for kind, share in result["drop"].items() if kind in conditions}
    for name, phase in recipe.phases.items():
        for part, settings in recipe.parts_of(phase).items():
            common = getattr(recipe, part).model_dump(mode="json")
            changed = {key: value for key, value in settings.model_dump(mode="json").items() if value != common[key]}
            result["phases"][name][part] = changed or None
    return result


def unset(recipe: Recipe) -> dict[str, Any]:
    """Return the keys that are written only if they are set, as :meth:`Recipe.model_dump` excludes them."""
    absent = {
        name: {key for key in ("memory", "times", "learning_rates") if getattr(phase, key) is None}
        | ({"cut"} if not phase.cut else set())
        for name, phase in recipe.phases.items()
    }
    phases = {name: keys for name, keys in absent.items() if keys}
    usual: dict[str, Any] = {"memory": MemorySpec(), "validation": ValidationSpec(), "times": UNIFORM}
    usual |= dict.fromkeys(("compile", "channels_last", "paired"), False)
    earlier = {"precision": "float32", "spacing": "index"}
    evaluation = {key for key, value in earlier.items() if getattr(recipe.evaluation, key) == value}
    keys = {"images": recipe.images is None, "phases": phases, "evaluation": evaluation}
    keys["averages"] = recipe.averages is None
    keys["schedule"] = {"restart"} if recipe.schedule.restart == 1 else set()
    keys |= {key: not getattr(recipe, key) for key in ("entry_overrides", "learning_rates")}
    keys |= {key: getattr(recipe, key) == value for key, value in usual.items()}
    return {key: value for key, value in keys.items() if value}


def public(recipe: Recipe) -> Recipe:
    """Return a recipe whose addresses have no user, password, query and fragment, to show or save it."""
    places: dict[str, dict[str, str]] = {"data": {}, "images": {}}

    def shown(text: str, keys: tuple[str, ...]) -> str:
        address, seen = shown_address(text), places.get(keys[-1])
        if seen is None or seen.setdefault(address, text) == text:
            return address
        # Parts of a mixture that differ in their queries only.
        return next(
            f"{address}#{n}" for n in range(2, len(seen) + 3) if seen.setdefault(f"{address}#{n}", text) == text
        )

    free = {"summary": without_secrets(recipe.summary), "licence": without_secrets(recipe.licence)}
    return recipe.map_paths(shown).model_copy(update=free)


def facts(recipe: Recipe, conditions: Collection[str] = _CONDITIONS, *, defaults: bool = True) -> dict[str, Any]:
    """Return every setting that affects the weights.

    Files count by name only, so that a folder may be moved; their contents are checked when a run is resumed. Initial
    weights are not checked then and count by folder and name.

    Args:
        recipe: The recipe.
        conditions: Conditions of the entry, of "classes" and "text".
        defaults: Whether to include settings that have their default value.
    """
    names = recipe.map_paths(lambda text, keys: (_folder_and_name if keys[-1] == "initialise" else _file_name)(text))
    excluded = _FREE | dict.fromkeys(("schedule", "loss", "carry", "drop"), True)
    result = names.model_dump(mode="json", exclude=excluded, exclude_defaults=not defaults)
    result["drop"] = {kind: getattr(recipe.drop, kind) for kind in sorted(conditions)}
    for name, phase in recipe.phases.items():
        for part, settings in recipe.parts_of(phase).items():
            result["phases"][name][part] = settings.model_dump(mode="json", exclude_defaults=not defaults)
    for key, sets in _sets(recipe).items():
        if isinstance(sets, dict):
            result[key] = [[_file_name(name), weight] for name, weight in sets.items()]
    return result


def fingerprint(recipe: Recipe, conditions: Collection[str] = _CONDITIONS) -> str:
    """Return a hash of :func:`facts`; a run may be resumed with any recipe of the same fingerprint."""
    # Without defaults, so that a key added by a later version does not change the fingerprint of earlier runs.
    found = facts(recipe, conditions, defaults=False)
    # A list, because the order of phases matters.
    return _hash(found | {"phases": list(found["phases"].items())})


def fingerprint_of_earlier_versions(recipe: Recipe) -> str:
    """Return the fingerprint that version 0.1 wrote, which ignores the order of phases."""
    return _hash(recipe.model_dump(mode="json", exclude=_FREE, exclude_defaults=True))


def saved_recipe(text: str) -> Recipe:
    """Read a recipe that a checkpoint has as JSON, so that it means what it meant when it was written.

    The weighting "sigmoid" without a bias is of a version before 0.2, and is now called "soft_min_snr".

    Raises:
        ValueError: The text is not JSON, or has keys or values of another version.
    """
    found = json.loads(text)
    for keys in _old_sigmoids(found):
        _at(found, keys[:-1])[keys[-1]] = "soft_min_snr"
    return Recipe.model_validate_json(json.dumps(found))


def renamed_weightings(text: str) -> list[tuple[str, ...]]:
    """Return the keys of the weightings that :func:`saved_recipe` renames, such as ``("loss", "weighting")``."""
    return _old_sigmoids(json.loads(text))


def _old_sigmoids(found: Any) -> list[tuple[str, ...]]:
    phases = found.get("phases") if isinstance(found, dict) else None
    places = [(), *(("phases", name) for name in phases)] if isinstance(phases, dict) else []
    keys = [(*place, "loss", "weighting") for place in places]
    return [each for each in keys if _at(found, each) == "sigmoid"]


def _at(found: Any, keys: tuple[str, ...]) -> Any:
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found


def whole_path(text: str) -> str:
    """Return the absolute path of an existing file or of a brace range; names and URLs are returned unchanged."""
    if "://" in text or not ("/" in text or text.endswith((".safetensors", *SUFFIXES))):
        return text
    return os.path.abspath(text) if os.path.exists(text) or "{" in text else text


def portable_path(text: str, parts: int = 1) -> str:
    """Return the last parts of a path as ``./NAME``, so that it tells nothing about the machine.

    Names of packaged data and entries, and addresses other than ``file:``, are returned unchanged.

    Args:
        text: A name, a path or an address.
        parts: Number of parts to keep.
    """
    scheme, mark, rest = text.partition("://")
    local = scheme.lower() in ("file", "local") if mark else _LOCAL.match(text) is not None
    names = [part for part in re.split(r"[/\\]", rest if mark else text) if part not in ("", ".", "..")]
    return "./" + "/".join(names[-parts:]) if local else text


def portable_data(data: str | Mapping[str, float]) -> str | dict[str, float]:
    """Return the data of a recipe with portable paths; parts of a mixture with equal names have their folders too."""
    if isinstance(data, str):
        return portable_path(data)
    for parts in range(1, 9):
        found = {portable_path(name, parts): weight for name, weight in data.items()}
        if len(found) == len(data):
            return found
    return {f"./{number}": weight for number, weight in enumerate(data.values())}


def _sets(recipe: Recipe) -> dict[str, str | dict[str, float]]:
    """Return the data of a recipe by key: ``data``, and ``images`` if there are any."""
    return {"data": recipe.data} | ({} if recipe.images is None else {"images": recipe.images})


def _file_name(text: str) -> str:
    # Of an address the query is removed; a question mark in a path belongs to the name.
    return shown_address(text).rstrip("/").rpartition("/")[2]


def _folder_and_name(text: str) -> str:
    return "/".join(whole_path(text).split("/")[-2:])


def _hash(facts: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
