"""Completion of names in the shell: entries, recipes, studies, datasets, and paths where a path is taken too."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable, Iterable

from specs.user_paths import expanded as expand_home

__all__ = [
    "complete_accelerator",
    "complete_anything",
    "complete_data",
    "complete_entry",
    "complete_recipe",
    "complete_study",
    "complete_trained",
]


def complete_entry(incomplete: str) -> list[str]:
    """Return entries and YAML files that start with the text."""
    return _complete(incomplete, _entries, (".yaml", ".yml"))


def complete_recipe(incomplete: str) -> list[str]:
    """Return recipes, entries (which are trained on ``--data``) and YAML files."""
    return _complete(incomplete, lambda: (*_files("recipe"), *_entries()), (".yaml", ".yml"))


def complete_study(incomplete: str) -> list[str]:
    """Return studies and YAML files."""
    return _complete(incomplete, lambda: _files("study"), (".yaml", ".yml"))


def complete_accelerator(incomplete: str) -> list[str]:
    """Return accelerators and YAML files."""

    def names() -> Iterable[str]:
        from specs.accelerators import list_accelerators

        return list_accelerators()

    return _complete(incomplete, names, (".yaml", ".yml"))


def complete_anything(incomplete: str) -> list[str]:
    """Return entries, recipes, studies and YAML files."""
    return _complete(incomplete, lambda: (*_entries(), *_files("recipe"), *_files("study")), (".yaml", ".yml"))


def complete_trained(incomplete: str) -> list[str]:
    """Return entries with weights, and weights files."""

    def names() -> Iterable[str]:
        from builders.checkpoints.shipped import shipped_weights

        return [name for name in _entries() if shipped_weights(name) is not None]

    return _complete(incomplete, names, (".safetensors",))


def complete_data(incomplete: str) -> list[str]:
    """Return packaged datasets, folders, and files of data."""

    def names() -> Iterable[str]:
        from builders.data.dataset_card import list_datasets

        return list_datasets()

    return _complete(incomplete, names, (".tar", ".csv", ".tsv", ".jsonl", ".json", ".parquet", ".zip", ".gz", ".tgz"))


def _entries() -> Iterable[str]:
    from registry.catalogue import list_names

    return list_names()


def _files(kind: str) -> Iterable[str]:
    from specs.library import list_files

    return list_files(kind)


def _complete(incomplete: str, names: Callable[[], Iterable[str]], suffixes: tuple[str, ...]) -> list[str]:
    """Return names and paths that start with a text; nothing if they cannot be found."""
    found: list[str] = []
    # A key that is pressed must never print an error into the line that is being typed.
    with contextlib.suppress(Exception), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found += [name for name in names() if name.startswith(incomplete)]
    with contextlib.suppress(OSError):
        found += _paths(incomplete, suffixes)
    return list(dict.fromkeys(found))


def _paths(incomplete: str, suffixes: tuple[str, ...]) -> list[str]:
    """Return folders, with a slash, and files with the suffixes; hidden ones only if the text starts with a dot."""
    folder, _, start = incomplete.rpartition("/")
    place = f"{folder}/" if "/" in incomplete else ""
    with os.scandir(expand_home(place or ".")) as entries:
        names = [f"{entry.name}/" if entry.is_dir() else entry.name for entry in entries]
    fits = [name for name in sorted(names) if name.startswith(start) and (start or not name.startswith("."))]
    return [place + name for name in fits if name.endswith(("/", *suffixes))]
