"""Which entries there are, and how one is found: packaged ones, folders of ``ZOO_PATH``, installed packages, files.

A package offers entries by an entry point of the group ``matryoshka_zoo.entries`` whose value is the dotted path of
a folder of YAML files: ``faces = "face_models.specs"``. The folder is found without running the package's code.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from registry.facts import conditioning_of, kind_of
from specs import library
from specs.errors import AmbiguousName, UnknownName

if TYPE_CHECKING:
    from registry.entry import Entry
    from specs.graph import EntryGraph
    from specs.load import Loaded
    from specs.schemas.entry import EntrySpec

    Name = str | os.PathLike[str]

__all__ = [
    "GROUP",
    "RenamedWarning",
    "UnreadableWarning",
    "architecture",
    "get",
    "list_names",
    "readable",
    "search_path",
]

#: Entry points of this group name folders of entries.
GROUP = "matryoshka_zoo.entries"
KINDS = ("image", "video")
CONDITIONINGS = ("text", "classes", "none")


class RenamedWarning(FutureWarning):
    """An entry was asked for by a name that it had before."""


class UnreadableWarning(UserWarning):
    """An entry cannot be read and is left out of what is said of all of them."""


def readable(names: Iterable[str]) -> Iterator[Entry]:
    """The entries of these names, but for those with mistakes: one bad file is not to hide the others.

    Each of those is told of by an :class:`UnreadableWarning`.
    """
    from specs.errors import SpecError

    for name in names:
        try:
            yield get(name)
        except SpecError:
            import warnings

            note = f"entry {name!r} is left out, for it cannot be read; 'zoo check {name}' says why"
            warnings.warn(note, UnreadableWarning, stacklevel=2)


def list_names(
    pattern: str | None = None,
    *,
    kind: str | None = None,
    resolution: int | None = None,
    depth: int | None = None,
    parameters_below: int | None = None,
    conditioning: str | None = None,
    tag: str | None = None,
) -> list[str]:
    """Names of all entries in natural order (``mdm-s64`` before ``mdm-s256``), or of those that match all filters.

    An entry that cannot be read matches no filter but a glob and a tag, with an :class:`UnreadableWarning`.

    Args:
        pattern: a glob such as ``mdm-*`` or ``*.in1k``, upper and lower case alike.
        kind: "image" or "video".
        resolution: side of the outermost level in pixels.
        depth: number of nested levels; 1 for a flat network.
        parameters_below: the number of parameters, inner levels included, is smaller than this.
        conditioning: "text", "classes" or "none".
        tag: what follows the dot in ``mdm-s256.in1k``.

    Raises:
        ValueError: a filter has no such value.
    """
    _one_of("kind", kind, KINDS)
    _one_of("conditioning", conditioning, CONDITIONINGS)
    names = list(library.list_names(search_path()))
    if pattern is not None:
        from fnmatch import fnmatchcase

        names = [name for name in names if fnmatchcase(name.lower(), pattern.lower())]
    if tag is not None:
        names = [name for name in names if name.rpartition(".")[2] == tag and "." in name]
    if (kind, resolution, depth, parameters_below, conditioning) == (None,) * 5:
        return names

    def fits(entry: Entry) -> bool:
        graph = entry.architecture
        return (
            kind in (None, kind_of(graph))
            and resolution in (None, graph.resolution)
            and depth in (None, len(graph.levels))
            and conditioning in (None, conditioning_of(graph))
            and (parameters_below is None or entry.card().parameters < parameters_below)
        )

    return [entry.name for entry in readable(names) if fits(entry)]


def _one_of(what: str, value: str | None, choices: Sequence[str]) -> None:
    if value is not None and value not in choices:
        from specs.errors import did_you_mean

        raise ValueError(f"no {what} {value!r}{did_you_mean(value, choices)} ({', '.join(choices)})")


def get(name_or_path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> Entry:
    """Look up an entry.

    Args:
        name_or_path: a name that :func:`list_names` gives, an alias, or a path to a YAML file. A name that an entry
            had before it was renamed is followed with a ``FutureWarning``.
        overrides: changes such as ``stages.r64.width=96``.

    Raises:
        LookupError: no entry has the name, or several may be meant; the message suggests those that come close.
        SpecError: the file, or one it refers to, is wrong (a ValueError whose text is the whole report).
    """
    from registry.entry import Entry
    from specs.load import load_entry

    what = name_or_path if isinstance(name_or_path, str) else Path(name_or_path)
    path = search_path()
    try:
        loaded = load_entry(what, overrides=overrides, search=path)
    except UnknownName as error:
        raise _ambiguous(error) from None
    other = library.other_names(path).get(what) if isinstance(what, str) else None
    if other is not None and other.renamed:
        import warnings

        note = f"entry {what!r} has been renamed to {other.target!r}; the old name will go"
        warnings.warn(note, RenamedWarning, stacklevel=2)
    return Entry(loaded)


def _ambiguous(error: UnknownName) -> UnknownName:
    """Where the name is a part of several others, an error that lists them."""
    if error.what != "entry" or not library.NAME.fullmatch(error.name):
        return error
    part = error.name.lower()
    names = library.list_names(search_path())
    found = [name for name in names if part in re.split(r"[-.]", name.lower()) or name.lower().startswith(f"{part}-")]
    if len(found) < 2:
        return UnknownName(error.name, found or error.suggestions)
    return AmbiguousName(error.name, found)


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
    from specs.load import Loaded, load_spec
    from specs.schemas.entry import EntrySpec

    if isinstance(what, Entry):
        return what.architecture
    if isinstance(what, Loaded):
        return what.graph
    if isinstance(what, EntrySpec):
        return load_spec(what).graph
    raise TypeError(f"an entry, a spec, a graph, a name or a path is needed, not {type(what).__name__}")


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
