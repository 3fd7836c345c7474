"""The catalogue: all entries, and the lookup of one by name or path.

Entries come with the package, from the folders in ``ZOO_PATH``, and from other installed packages. A package offers
entries by an entry point of the group ``matryoshka_zoo.entries`` whose value is the dotted path of a folder of YAML
files: ``faces = "face_models.specs"``. The folder is found without running the package's code.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry.facts import conditioning_of, kind_of
from specs import library
from specs.errors import AmbiguousName, SpecError, UnknownName, did_you_mean, fail
from specs.installed import GROUP
from specs.syntax.yaml_tree import display_name
from specs.user_paths import expanded as expand_home

if TYPE_CHECKING:
    import torch

    from builders.networks.nested_unet import NestedUNet
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
    "build",
    "get",
    "list_names",
    "readable",
    "search_path",
    "wider_pattern",
]

KINDS = ("image", "video")
CONDITIONINGS = ("text", "classes", "none")


class RenamedWarning(FutureWarning):
    """An entry was looked up by a former name."""


class UnreadableWarning(UserWarning):
    """An entry cannot be read and is left out of a list."""


def readable(names: Iterable[str]) -> Iterator[Entry]:
    """Return the entries with these names; warn of each that cannot be read, and leave it out.

    Warns:
        UnreadableWarning: An entry has errors. One bad file must not hide the others.
    """
    for name in names:
        try:
            yield get(name)
        except SpecError:
            note = f"entry {name!r} is left out: it cannot be read; run 'zoo check {name}' to see why"
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
    """Return the names of all entries, or of those that match all filters, in natural order.

    Natural order puts ``mdm-s64`` before ``mdm-s256``. An entry that cannot be read matches no filters other than a
    pattern and a tag.

    Args:
        pattern: Glob such as ``mdm-*`` or ``*.in1k``; case is ignored.
        kind: Kind of output, ``image`` or ``video``.
        resolution: Side of the outermost level in pixels.
        depth: Number of nested levels; 1 for a flat network.
        parameters_below: Upper limit of the number of parameters, exclusive, inner levels included.
        conditioning: Conditioning: ``text``, ``classes`` or ``none``.
        tag: Tag, the part after the dot in ``mdm-s256.in1k``.

    Raises:
        ValueError: A filter has an unknown value.
        TypeError: A filter has another type.

    Warns:
        UnreadableWarning: An entry cannot be read and is left out.
    """
    texts = {"pattern": pattern, "kind": kind, "conditioning": conditioning, "tag": tag}
    numbers = {"resolution": resolution, "depth": depth, "parameters_below": parameters_below}
    _check_types(texts, str, "text")
    _check_types(numbers, (int, float), "a number")
    for what, value, choices in (("kind", kind, KINDS), ("conditioning", conditioning, CONDITIONINGS)):
        if value is not None and value not in choices:
            raise ValueError(f"no {what} {value!r}{did_you_mean(value, choices)} ({', '.join(choices)})")
    names = list(library.list_names(search_path()))
    if pattern is not None:
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


def _check_types(filters: Mapping[str, object], types: type | tuple[type, ...], words: str) -> None:
    for name, value in filters.items():
        if value is not None and not isinstance(value, types):
            raise TypeError(f"{name} is {words}, not {type(value).__name__}")


def wider_pattern(pattern: str, **filters: Any) -> str | None:
    """Return a glob for a pattern that matches no entry, such as ``mdm*`` for ``mdm``, if the glob matches some.

    Args:
        pattern: Pattern; one that is a glob already is not widened.
        **filters: Further filters of :func:`list_names`.
    """
    if any(char in pattern for char in "*?["):
        return None
    return next((glob for glob in (f"{pattern}*", f"*{pattern}*") if list_names(glob, **filters)), None)


def get(name_or_path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> Entry:
    """Look up an entry by name, or read one from a YAML file.

    Args:
        name_or_path: Name of an entry, an alias, or a path to a YAML file. Former names of renamed entries work with a
            ``FutureWarning``.
        overrides: Changes such as ``stages.r64.width=96``.

    Raises:
        LookupError: No entry has this name, or several match it; the message suggests similar names.
        SpecError: The file, or one it refers to, has errors (a ValueError whose text is the full report).
        TypeError: The name or an override has another type.
    """
    from registry.entry import Entry
    from specs.load import load_entry

    what = _name_or_path(name_or_path)
    overrides = _overrides(overrides)
    path = search_path()
    _refuse_run(what)
    try:
        loaded = load_entry(what, overrides=overrides, search=path)
    except UnknownName as error:
        raise _ambiguous(error) from None
    other = library.other_names(path).get(what) if isinstance(what, str) else None
    if other is not None and other.renamed:
        note = f"entry {what!r} is now {other.target!r}; the old name will be removed"
        warnings.warn(note, RenamedWarning, stacklevel=2)
    return Entry(loaded)


def _refuse_run(what: str | Path) -> None:
    """Say what reads the folder of a run, which is not an entry."""
    if library.is_path(what) and os.path.isfile(expand_home(what) / "ema.safetensors"):
        message = "this is the folder of a run; 'zoo card', 'zoo compare', 'zoo sample' and 'zoo evaluate' read it"
        raise fail("not-a-file", message, file=display_name(what))


def _name_or_path(what: object) -> str | Path:
    if isinstance(what, str):
        return what
    path = os.fspath(what) if isinstance(what, os.PathLike) else what
    if not isinstance(path, str):
        raise TypeError(f"an entry is looked up by its name or the path of a YAML file, not by {type(what).__name__}")
    return Path(path)


def _overrides(overrides: object) -> Sequence[str]:
    """Return overrides as a sequence: a single text is one override."""
    given = [overrides] if isinstance(overrides, str) else overrides
    if not isinstance(given, (list, tuple)) or not all(isinstance(each, str) for each in given):
        raise TypeError("overrides are a list of texts such as 'stages.r64.width=96'")
    return given


def _ambiguous(error: UnknownName) -> UnknownName:
    """Return an error that lists the names of which the unknown name is a part, if there are several."""
    if error.what != "entry" or not library.NAME.fullmatch(error.name):
        return error
    part = error.name.lower()
    names = library.list_names(search_path())
    found = [name for name in names if part in re.split(r"[-.]", name.lower()) or name.lower().startswith(f"{part}-")]
    if len(found) < 2:
        return UnknownName(error.name, found) if found else error
    return AmbiguousName(error.name, found)


def architecture(what: Entry | Loaded | EntrySpec | EntryGraph | Name, overrides: Sequence[str] = ()) -> EntryGraph:
    """Return the checked graph of an entry.

    Args:
        what: Name, path to a YAML file, entry, spec, or graph.
        overrides: Changes such as ``stages.r64.width=96``, for a name or path only.

    Raises:
        LookupError, SpecError: As for :func:`get`.
        ValueError: There are overrides, and ``what`` is not a name or path.
        TypeError: ``what`` has another type.
    """
    from specs.graph import EntryGraph

    if isinstance(what, (str, os.PathLike)):
        return get(what, overrides).architecture
    if overrides:
        raise ValueError("overrides need an entry's name or path")
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
    raise TypeError(f"expected an entry, spec, graph, name or path, not {type(what).__name__}")


def build(
    what: Entry | Loaded | EntrySpec | EntryGraph | Name,
    device: torch.device | str = "cpu",
    *,
    overrides: Sequence[str] = (),
    initialize: bool = True,
) -> NestedUNet:
    """Build the network of an entry with fresh weights.

    Args:
        what: Name, path to a YAML file, entry, spec, or graph.
        device: Device of the network; ``"meta"`` allocates nothing.
        overrides: Changes such as ``stages.r64.width=96``, for a name or path only.
        initialize: Whether to initialize the weights; False if they are about to be loaded.

    Raises:
        LookupError, SpecError, TypeError: As for :func:`get`.
        ValueError: There is no such device.
    """
    graph = architecture(what, overrides)
    from builders.networks.nested_unet import build_model

    return build_model(graph, device=device, initialize=initialize)


def search_path() -> tuple[Path, ...]:
    """Return the folders of entries: those in ``ZOO_PATH``, the packaged one, those of other installed packages."""
    return library.folders()
