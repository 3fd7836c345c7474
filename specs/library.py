"""Find and list entries, tags, recipes and studies in the folders of ``ZOO_PATH`` and in the package.

Names are found by file name. A file is opened only if it declares variants or is a tag.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from specs.errors import SpecError, UnknownName, closest, quote
from specs.installed import installed_folders
from specs.syntax.yaml_tree import MAX_BYTES, Tree, display_name, parse, plain, value_at
from specs.user_paths import expanded as expand_home

__all__ = [
    "NOTES",
    "OtherName",
    "Reference",
    "find",
    "find_file",
    "find_tag",
    "folders",
    "is_path",
    "is_shadow",
    "list_files",
    "list_names",
    "natural",
    "note_shadow",
    "other_names",
    "own_folders",
    "placed_beside",
    "unknown_name",
]

Default = TypeVar("Default", dict, list)
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
SUFFIXES = (".yaml", ".yml")
#: Longest name: file systems limit a file name to 255 bytes, with its suffix.
MAX_NAME = 250
#: Logger of notes on names; the command line prints them.
NOTES = logging.getLogger("matryoshka_zoo.names")
_PACKAGE = Path(__file__).parent
#: Folder of the packaged entries.
PACKAGED = _PACKAGE / "models"
#: Most names that an error lists.
MOST_NAMED = 12
#: Most files of the current folder that are searched for a variant.
MOST_SEARCHED = 100
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
    """Return the folders that hold entries: those of ``ZOO_PATH``, the packaged one, those of installed packages."""
    return (*own_folders(), PACKAGED, *installed_folders())


def own_folders() -> tuple[Path, ...]:
    """Return the folders of ``ZOO_PATH`` in order, each once; empty parts are skipped."""
    named = os.environ.get("ZOO_PATH", "").split(os.pathsep)
    return tuple(dict.fromkeys(expand_home(folder.strip()) for folder in named if folder.strip()))


def is_path(name_or_path: str | Path) -> bool:
    """Return whether this is a path rather than a name: it has a slash or ends in ``.yaml``."""
    text = str(name_or_path)
    return isinstance(name_or_path, Path) or text.endswith(SUFFIXES) or "/" in text or os.sep in text


def placed_beside(text: str, file: str) -> str:
    """Return a path that is written in a file relative to the current folder.

    Args:
        text: Path, relative to the folder of the file. Names, URLs and absolute paths are returned unchanged.
        file: Name of the file in messages; one such as ``<override 1>`` has no folder.
    """
    if text.startswith("~"):
        return str(expand_home(text))
    if not is_path(text) or _URL.match(text) or Path(text).is_absolute() or file.startswith("<"):
        return text
    placed = str(Path(file).parent / text)
    return placed if is_path(placed) else f"./{placed}"  # still a path, not a name


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


def note_shadow(reference: Reference) -> None:
    """Log a note if an entry of ``ZOO_PATH`` has the name of a packaged one, which it shadows."""
    if is_shadow(reference):
        _log_shadow(reference.name, reference.path)


def is_shadow(reference: Reference) -> bool:
    """Return whether an entry that was found by name shadows a packaged one."""
    return reference.path.parent != PACKAGED and find(reference.name, (PACKAGED,)) is not None


def _log_shadow(name: str, path: Path) -> None:
    NOTES.info("%s is %s; it shadows the one in the package (ZOO_PATH)", quote(name), display_name(path))


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
            tree = _parsed(path)
            for key in ("aliases", "renamed"):
                for name, target in _plain(tree, key, {}).items():
                    if isinstance(target, str):
                        names[name] = OtherName(target, key == "renamed")
    # An alias of an alias is dropped, so that aliases cannot form a cycle.
    return {name: other for name, other in names.items() if other.target not in names}


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


def unknown_name(name: str, kind: str, search: tuple[Path, ...]) -> UnknownName:
    """Return the error for a name that no entry, recipe or study (``kind``) has, with the closest names.

    Without any, it says of which other kind the name is, or names those that there are.
    """
    names = {"entry": list_names(search), "recipe": list_files("recipe"), "study": list_files("study")}
    for other, known in names.items():
        if other != kind and name in known:
            return UnknownName(name, (), kind, f"; it is {'an' if other == 'entry' else 'a'} {other}")
    here = _here(name, kind)
    if here:
        return UnknownName(name, (), kind, here)
    near = closest(name, names[kind], count=3)
    others = [f"the {other} {quote(found)}" for other in names for found in closest(name, names[other])]
    if others and not near:
        return UnknownName(name, (), kind, f"; did you mean {' or '.join(others)}?")
    plural = {"entry": "", "recipe": " recipes", "study": " studies"}[kind]
    missing = next((folder for folder in own_folders() if not folder.is_dir()), None)
    if missing is not None:
        return UnknownName(name, near, kind, f"; {missing} in ZOO_PATH is not a folder")
    every = "; there are " + ", ".join(names[kind]) if len(names[kind]) <= MOST_NAMED else ""
    return UnknownName(name, near, kind, every or f"; 'zoo list{plural}' shows all")


def _here(name: str, kind: str) -> str:
    """Return a hint if the current folder has a file or a variant of this name, which only a path or ZOO_PATH finds."""
    path = _first_file([Path()], name) if NAME.fullmatch(name) else None
    if path is not None:
        return f"; for the file in this folder, write {path}"
    if kind == "entry":
        for path in _files(Path())[:MOST_SEARCHED]:
            if name in _variants(path):
                return f"; it is a variant in {path}: add the folder of this file to ZOO_PATH"
    return ""


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
        return beside / expand_home(name_or_path)
    name = str(name_or_path)
    path = _first_file(_folders_of(kind), name) if NAME.fullmatch(name) else None
    if path is None:
        raise unknown_name(name, kind, folders())
    packaged = _PACKAGE / _KINDS[kind]
    if path.parent != packaged and _first_file([packaged], name) is not None:
        _log_shadow(name, path)
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
    if len(name) > MAX_NAME:
        return None
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
    return tuple(filter(NAME.fullmatch, _plain(_parsed(path, b"\nvariants:"), "variants", {})))


def _tagged(path: Path) -> tuple[str, ...]:
    """Return the entries that a tag is listed with."""
    return tuple(name for name in _plain(_parsed(path), "entries", []) if isinstance(name, str))


def _plain(tree: Tree | None, key: str, default: Default) -> Default:
    """Return the plain value of a key if it has the type of ``default``, else ``default``."""
    found = value_at(tree, key)
    value = None if found is None else plain(found)
    return value if isinstance(value, type(default)) else default


def _parsed(path: Path, marker: bytes = b"") -> Tree | None:
    """Return the tree of a file, cached until the file changes; None if it is unreadable or has no ``marker``."""
    try:
        status = path.stat()
    except OSError:
        return None
    return _parsed_version(path, marker, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=1024)
def _parsed_version(path: Path, marker: bytes, modified: int, size: int) -> Tree | None:
    try:
        if size > MAX_BYTES or not path.is_file() or marker not in path.read_bytes():
            return None
        return parse(path)
    except (OSError, SpecError):
        return None
