"""Where entries and tags lie: the packaged specs, and the folders named by ``ZOO_PATH``.

Finding and listing names needs file names alone; a file is opened only where it declares variants or is a tag.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from specs.syntax.yaml_tree import Mapping

__all__ = ["OtherName", "Reference", "find", "find_tag", "folders", "is_path", "list_names", "natural", "other_names"]

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*")
SUFFIXES = (".yaml", ".yml")
_PACKAGE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Reference:
    """What a name leads to: a file, and within it perhaps a variant, and perhaps a tag to apply."""

    path: Path
    variant: str | None = None
    tag: str | None = None

    @property
    def name(self) -> str:
        """The name of the entry itself, whatever name led to it."""
        return (self.variant or self.path.stem) + (f".{self.tag}" if self.tag else "")


def folders() -> tuple[Path, ...]:
    """Folders that hold entries: those of ``ZOO_PATH`` in order, then the packaged ones."""
    named = os.environ.get("ZOO_PATH", "").split(os.pathsep)
    return (*(Path(folder).expanduser() for folder in named if folder), _PACKAGE / "models")


def is_path(text: str) -> bool:
    """Whether a text names a file rather than an entry."""
    return text.endswith(SUFFIXES) or "/" in text or os.sep in text


def find(name: str, search: tuple[Path, ...]) -> Reference | None:
    """The entry, variant or tagged entry of this name in the first folder that has it."""
    if not NAME.fullmatch(name):
        return None
    for folder in search:
        path = _file(folder, name)
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
    """Another name of an entry: an alias, or one it had before it was renamed."""

    target: str
    renamed: bool


def other_names(search: tuple[Path, ...]) -> dict[str, OtherName]:
    """Aliases and former names, from ``names/*.yaml`` in each folder that is searched and in the package.

    Such a file has the keys ``aliases`` and ``renamed``, both from the other name to the entry's. What is not of this
    form is passed over.
    """
    names: dict[str, OtherName] = {}
    for folder in (_PACKAGE, *reversed(search)):
        for path in _files(folder / "names"):
            status = path.stat()
            names |= _other_names_of(path, status.st_mtime_ns, status.st_size)
    # Following an alias must end: one that leads to another name is none.
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
    """The file of a tag: ``data/TAG.yaml`` in a folder that is searched, or a packaged one."""
    for folder in (*search, _PACKAGE):
        path = _file(folder / "data", tag)
        if path is not None:
            return path
    return None


def tag_names(search: tuple[Path, ...]) -> tuple[str, ...]:
    """Names of all tags that :func:`find_tag` knows."""
    return tuple({path.stem: None for folder in (*search, _PACKAGE) for path in _files(folder / "data")})


def list_names(search: tuple[Path, ...] | None = None) -> tuple[str, ...]:
    """Names of all entries, variants and tagged entries in natural order (``s64`` before ``s256``)."""
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


def natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key under which numbers within names count as numbers."""
    return tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", name) if part)


def _file(folder: Path, name: str) -> Path | None:
    for suffix in SUFFIXES:
        path = folder / f"{name}{suffix}"
        if path.is_file():
            return path
    return None


def _files(folder: Path) -> list[Path]:
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return []
    return [folder / name for name in names if name.endswith(SUFFIXES) and NAME.fullmatch(Path(name).stem)]


def _variants(path: Path) -> tuple[str, ...]:
    """Names of the variants that a file declares; none if it cannot be read, which loading it will report."""
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
    """The entries with which a tag is listed."""
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
