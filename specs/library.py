"""Find and list entries, tags, recipes and studies in the folders of ``ZOO_PATH`` and in the package.

Names are found by file name. A file is opened only if it declares variants or is a tag.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from specs.errors import UnknownName, closest

if TYPE_CHECKING:
    from specs.syntax.yaml_tree import Mapping

__all__ = [
    "OtherName",
    "Reference",
    "find",
    "find_file",
    "find_tag",
    "folders",
    "is_path",
    "list_files",
    "list_names",
    "natural",
    "other_names",
]

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*")
SUFFIXES = (".yaml", ".yml")
_PACKAGE = Path(__file__).parent
#: Kinds of files beside entries, and their folders.
_KINDS = {"recipe": "recipes", "study": "studies"}


@dataclass(frozen=True, slots=True)
class Reference:
    """The file of an entry, the variant in it if the entry is one, and the tag to apply if the name has one."""

    path: Path
    variant: str | None = None
    tag: str | None = None

    @property
    def name(self) -> str:
        """Name of the entry itself, even if it was found by another name."""
        return (self.variant or self.path.stem) + (f".{self.tag}" if self.tag else "")


def folders() -> tuple[Path, ...]:
    """Return the folders that hold entries: those of ``ZOO_PATH`` in order, then the packaged one."""
    named = os.environ.get("ZOO_PATH", "").split(os.pathsep)
    return (*(Path(folder).expanduser() for folder in named if folder), _PACKAGE / "models")


def is_path(name_or_path: str | Path) -> bool:
    """Return whether this is a path rather than a name: it has a slash or ends in ``.yaml``."""
    text = str(name_or_path)
    return isinstance(name_or_path, Path) or text.endswith(SUFFIXES) or "/" in text or os.sep in text


def find(name: str, search: tuple[Path, ...]) -> Reference | None:
    """Return the entry, variant or tagged entry of this name in the first folder that has it."""
    if not NAME.fullmatch(name):
        return None
    path = _first_file(search, name)
    if path is not None:
        return Reference(path)
    for folder in search:
        for path in _files(folder):
            if name in _variants(path):
                return Reference(path, variant=name)
    other = other_names(search).get(name)
    if other is not None:
        return find(other.target, search)
    base, dot, tag = name.rpartition(".")
    if dot and find_tag(tag, search) is not None:
        found = find(base, search)
        if found is not None and found.tag is None:
            return Reference(found.path, found.variant, tag)
    return None


@dataclass(frozen=True, slots=True)
class OtherName:
    """Another name of an entry: an alias, or its name before it was renamed."""

    target: str
    renamed: bool


def other_names(search: tuple[Path, ...]) -> dict[str, OtherName]:
    """Return aliases and former names, from ``names/*.yaml`` in each folder of ``search`` and in the package.

    Such a file has the keys ``aliases`` and ``renamed``; both map the other name to the entry's name. Anything else
    is skipped.
    """
    names: dict[str, OtherName] = {}
    for folder in (_PACKAGE, *reversed(search)):
        for path in _files(folder / "names"):
            status = path.stat()
            names |= _other_names_of(path, status.st_mtime_ns, status.st_size)
    # An alias of an alias is dropped, so that aliases cannot form a cycle.
    return {name: other for name, other in names.items() if other.target not in names}


@lru_cache(maxsize=256)
def _other_names_of(path: Path, modified: int, size: int) -> dict[str, OtherName]:
    from specs.syntax.yaml_tree import Mapping, Scalar

    tree = _parsed(path)
    found = {}
    for key in ("aliases", "renamed"):
        part = tree.get(key) if tree is not None else None
        for name, entry in part.entries.items() if isinstance(part, Mapping) else ():
            if isinstance(entry.value, Scalar) and isinstance(entry.value.value, str):
                found[name] = OtherName(entry.value.value, key == "renamed")
    return found


def find_tag(tag: str, search: tuple[Path, ...]) -> Path | None:
    """Return the file of a tag: ``data/TAG.yaml`` in a folder of ``search`` or in the package."""
    return _first_file((folder / "data" for folder in (*search, _PACKAGE)), tag)


def tag_names(search: tuple[Path, ...]) -> tuple[str, ...]:
    """Return the names of all tags that :func:`find_tag` finds."""
    return tuple({path.stem: None for folder in (*search, _PACKAGE) for path in _files(folder / "data")})


def list_names(search: tuple[Path, ...] | None = None) -> tuple[str, ...]:
    """Return the names of all entries, variants and tagged entries in natural order (``s64`` before ``s256``)."""
    search = folders() if search is None else search
    names: dict[str, None] = {}
    for folder in search:
        for path in _files(folder):
            names[path.stem] = None
            names.update(dict.fromkeys(_variants(path)))
    for tag in tag_names(search):
        tag_file = find_tag(tag, search)
        assert tag_file is not None
        names.update({f"{name}.{tag}": None for name in _tagged(tag_file) if name in names})
    return tuple(sorted(names, key=natural))


def find_file(kind: str, name_or_path: str | Path, beside: Path = Path()) -> Path:
    """Return the file of a recipe or study.

    Args:
        kind: ``recipe`` or ``study``.
        name_or_path: A name that :func:`list_files` returns, or a path.
        beside: Folder that a path is relative to.

    Raises:
        UnknownName: No file has this name. The file of a path may still be missing.
    """
    if is_path(name_or_path):
        return beside / Path(name_or_path).expanduser()
    name = str(name_or_path)
    path = _first_file(_folders_of(kind), name) if NAME.fullmatch(name) else None
    if path is None:
        raise UnknownName(name, closest(name, list_files(kind), count=3), what=kind)
    return path


def list_files(kind: str) -> tuple[str, ...]:
    """Return the names of all recipes or studies (``kind``) in natural order."""
    return tuple(sorted({path.stem for folder in _folders_of(kind) for path in _files(folder)}, key=natural))


def _folders_of(kind: str) -> tuple[Path, ...]:
    name = _KINDS[kind]
    return (*(folder / name for folder in folders()), _PACKAGE / name)


def natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """Return a sort key that compares numbers within names as numbers."""
    return tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", name) if part)


def _first_file(folders: Iterable[Path], name: str) -> Path | None:
    paths = (folder / f"{name}{suffix}" for folder in folders for suffix in SUFFIXES)
    return next((path for path in paths if path.is_file()), None)


def _files(folder: Path) -> list[Path]:
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return []
    return [folder / name for name in names if name.endswith(SUFFIXES) and NAME.fullmatch(Path(name).stem)]


def _variants(path: Path) -> tuple[str, ...]:
    """Return the names of the variants that a file declares; none if it is unreadable, which loading it reports."""
    try:
        status = path.stat()
        return _variants_of(path, status.st_mtime_ns, status.st_size)
    except OSError:
        return ()


@lru_cache(maxsize=1024)
def _variants_of(path: Path, modified: int, size: int) -> tuple[str, ...]:
    from specs.syntax.yaml_tree import MAX_BYTES, Mapping

    if size > MAX_BYTES or not path.is_file() or b"\nvariants:" not in path.read_bytes():
        return ()
    tree = _parsed(path)
    variants = tree.get("variants") if tree is not None else None
    return tuple(filter(NAME.fullmatch, variants.entries)) if isinstance(variants, Mapping) else ()


def _tagged(path: Path) -> tuple[str, ...]:
    """Return the entries that a tag is listed with."""
    from specs.syntax.yaml_tree import Sequence, plain

    tree = _parsed(path)
    entries = tree.get("entries") if tree is not None else None
    return tuple(name for name in plain(entries) if isinstance(name, str)) if isinstance(entries, Sequence) else ()


def _parsed(path: Path) -> Mapping | None:
    from specs.errors import SpecError
    from specs.syntax.yaml_tree import Mapping, parse

    try:
        tree = parse(path)
    except SpecError:
        return None
    return tree if isinstance(tree, Mapping) else None
