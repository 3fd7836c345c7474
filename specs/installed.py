"""Folders of entries in other installed packages, found without running their code."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

__all__ = ["GROUP", "installed_folders"]

#: Group of the entry points that name folders of entries.
GROUP = "matryoshka_zoo.entries"


@lru_cache(maxsize=1)
def installed_folders() -> tuple[Path, ...]:
    """Return the folders that installed packages offer by entry points of the group :data:`GROUP`."""
    from importlib.metadata import entry_points

    return tuple(folder for point in entry_points(group=GROUP) for folder in _folders(point.value))


def _folders(dotted: str) -> list[Path]:
    """Return the folders of a dotted path; only its first part is looked up, so that no package is imported."""
    from importlib.util import find_spec

    first, *rest = dotted.split(":")[0].strip().split(".")
    try:
        found = find_spec(first)
    except (ImportError, ValueError):
        return []
    places = found.submodule_search_locations if found is not None else None
    return [folder for place in places or () if (folder := Path(place, *rest)).is_dir()]
