"""Which entries there are, and how one is found: packaged ones, folders of ``ZOO_PATH``, installed packages, files.

A package offers entries by an entry point of the group ``matryoshka_zoo.entries`` whose value is the dotted path of
a folder of YAML files: ``faces = "face_models.specs"``. The folder is found without running the package's code.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from specs import library

if TYPE_CHECKING:
    from registry.entry import Entry
    from specs.graph import EntryGraph
    from specs.load import Loaded
    from specs.schema import EntrySpec

    Name = str | os.PathLike[str]

__all__ = ["GROUP", "architecture", "get", "list_names", "search_path"]

#: Entry points of this group name folders of entries.
GROUP = "matryoshka_zoo.entries"


def list_names(pattern: str | None = None) -> list[str]:
    """Names of all entries in natural order (``mdm-s64`` before ``mdm-s256``), or of those that match a pattern.

    Args:
        pattern: a glob such as ``mdm-*`` or ``*.in1k``, upper and lower case alike.
    """
    names = library.list_names(search_path())
    if pattern is None:
        return list(names)
    from fnmatch import fnmatchcase

    return [name for name in names if fnmatchcase(name.lower(), pattern.lower())]


def get(name_or_path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> Entry:
    """Look up an entry.

    Args:
        name_or_path: a name that :func:`list_names` gives, or a path to a YAML file.
        overrides: changes such as ``stages.r64.width=96``.

    Raises:
        LookupError: no entry has the name; the message suggests those that come close.
        SpecError: the file, or one it refers to, is wrong (a ValueError whose text is the whole report).
    """
    from registry.entry import Entry
    from specs.load import load_entry

    what = name_or_path if isinstance(name_or_path, str) else Path(name_or_path)
    return Entry(load_entry(what, overrides=overrides, search=search_path()))


def architecture(what: Entry | Loaded | EntrySpec | EntryGraph | Name, overrides: Sequence[str] = ()) -> EntryGraph:
    """The checked graph of whatever stands for an entry: a name, a path, an entry, a spec, or the graph itself.

    Raises:
        LookupError, SpecError: as :func:`get`.
        ValueError: overrides for anything but a name or a path.
        TypeError: it is none of these.
    """
    from specs.graph import EntryGraph

    if isinstance(what, (str, os.PathLike)):
        return get(what, overrides).architecture
    if overrides:
        raise ValueError("overrides change an entry that is given by name or path")
    if isinstance(what, EntryGraph):
        return what
    from registry.entry import Entry
    from specs.load import Loaded, load_mapping
    from specs.schema import EntrySpec

    if isinstance(what, Entry):
        return what.architecture
    if isinstance(what, Loaded):
        return what.graph
    if isinstance(what, EntrySpec):
        written = what.model_dump(mode="json", by_alias=True, exclude_unset=True)
        return load_mapping(_as_written(written), f"spec {what.name}").graph
    raise TypeError(f"an entry, a spec, a graph, a name or a path is needed, not {type(what).__name__}")


def _as_written(value: Any) -> Any:
    """A dumped spec in the form a YAML file has: what a node reads is a name, or ``{down: NAME}``."""
    if isinstance(value, list):
        return [_as_written(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "node" in value and set(value) <= {"node", "way", "args"}:
        return {value["way"]: value["node"], **value.get("args", {})} if value.get("way") else value["node"]
    return {key: _as_written(item) for key, item in value.items()}


def search_path() -> tuple[Path, ...]:
    """Folders of entries: those of ``ZOO_PATH``, the packaged ones, then those of other installed packages."""
    return (*library.folders(), *_installed())


@lru_cache(maxsize=1)
def _installed() -> tuple[Path, ...]:
    from importlib.metadata import entry_points

    return tuple(folder for point in entry_points(group=GROUP) for folder in _folders(point.value))


def _folders(dotted: str) -> list[Path]:
    """The folders a dotted path leads to; only its first part is looked up, so that no package is imported."""
    from importlib.util import find_spec

    first, *rest = dotted.split(":")[0].strip().split(".")
    try:
        found = find_spec(first)
    except (ImportError, ValueError):
        return []
    places = found.submodule_search_locations if found is not None else None
    return [folder for place in places or () if (folder := Path(place, *rest)).is_dir()]
