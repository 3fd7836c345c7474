"""Walks through folders: hidden files are skipped, links are followed inside the folder, and loops are left."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from builders.data.recognition.formats import extension_of
from builders.data.recognition.left_out import LeftOut
from builders.files import read_regular

__all__ = ["Walk", "first_file", "is_hidden", "walk"]

#: Names, besides those with a leading dot, that operating systems create.
SYSTEM = frozenset(("__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found", "__pycache__"))
SYSTEM_FILES = frozenset(("thumbs.db", "desktop.ini", "icon\r"))
#: Largest number of folders that a file may lie in.
MAX_DEPTH = 100
#: Number of files and folders that are looked at to find out what a folder holds.
MAX_LOOKED_AT = 10_000
#: Largest length of the target of a link in bytes.
MAX_TARGET = 255


@dataclass(frozen=True, slots=True)
class Walk:
    """The regular files of a folder: names relative to it, separated by "/" and sorted part by part.

    Attributes:
        files: Names of the files.
        left_out: What is not listed.
        links: Whether there are links among them, or to folders that they lie in.
    """

    files: tuple[str, ...]
    left_out: LeftOut
    links: bool = False


def is_hidden(name: str) -> bool:
    """Return whether a path has a part that is hidden, or that an operating system created."""
    return any(
        part.startswith(".") or part.lower() in SYSTEM or part.lower() in SYSTEM_FILES for part in name.split("/")
    )


def walk(folder: str | Path) -> Walk:
    """List the regular files in a folder and its subfolders, without hidden ones.

    Links to folders inside the folder are followed, each once. Links to folders outside of it, loops, broken links,
    pipes and devices are left out and counted.

    Raises:
        OSError: The folder cannot be read.
    """
    walker = _Walker(os.path.realpath(folder))
    found = walker.files(str(folder), "", frozenset((walker.root,)))
    names = tuple(sorted(found, key=lambda name: name.split("/")))
    return Walk(names, walker.left_out, walker.links)


def first_file(folder: str | Path, extensions: Collection[str]) -> str | None:
    """Return a file with one of some extensions among the first thousands in a folder; None if there is none."""
    walker = _Walker(os.path.realpath(folder), limit=MAX_LOOKED_AT)
    found = walker.files(str(folder), "", frozenset((walker.root,)))
    return next((name for name in found if extension_of(name) in extensions), None)


class _Walker:
    """A walk through a folder, which knows the links it has followed.

    Args:
        root: Folder, without links.
        limit: Largest number of files and folders to look at. Default: all.
    """

    def __init__(self, root: str, limit: int | None = None) -> None:
        self.root, self.left = root, limit
        self.left_out = LeftOut()
        self.links = False
        self._followed: set[str] = set()

    def files(self, path: str, prefix: str, above: frozenset[str]) -> Iterator[str]:
        """Yield the files of a folder; ``above`` are the folders that it lies in, without links."""
        with os.scandir(path) as entries:
            for entry in sorted(entries, key=lambda each: each.name):
                if self.left is not None:
                    self.left -= 1
                    if self.left < 0:
                        return
                if is_hidden(entry.name):
                    continue
                name = prefix + entry.name
                kind = _kind(entry)
                if kind == "folder":
                    yield from self._folder(entry, name, above)
                elif kind == "file":
                    self.links = self.links or entry.is_symlink()
                    yield name
                else:
                    self.left_out.add(kind, name)

    def _folder(self, entry: os.DirEntry[str], name: str, above: frozenset[str]) -> Iterator[str]:
        if name.count("/") > MAX_DEPTH:
            self.left_out.add(f"folders more than {MAX_DEPTH} deep", name)
            return
        real = os.path.realpath(entry.path)
        if entry.is_symlink() and not self._may_follow(entry, name, real, above):
            return
        try:
            yield from self.files(entry.path, name + "/", above | {real})
        except OSError:
            self.left_out.add("folders that cannot be read", name)

    def _may_follow(self, entry: os.DirEntry[str], name: str, real: str, above: frozenset[str]) -> bool:
        """Return whether to follow a link, each of which is followed once however many paths lead to it."""
        place = os.path.join(os.path.realpath(os.path.dirname(entry.path)), entry.name)
        if place in self._followed:
            return False
        if real in above:
            self.left_out.add("links to a folder that contains them", name)
        elif os.path.commonpath((real, self.root)) != self.root:
            self.left_out.add("links to folders outside of the source", name)
        else:
            self._followed.add(place)
            self.links = True
            return True
        return False


def _kind(entry: os.DirEntry[str]) -> str:
    """Return "folder", "file", or the kind of what is left out."""
    try:
        if entry.is_dir():
            return "folder"
        if entry.is_file():
            return "links that are saved as text" if _is_saved_link(entry) else "file"
        return "broken links" if entry.is_symlink() else "pipes, sockets and devices"
    except OSError:  # a loop of links
        return "broken links"


def _is_saved_link(entry: os.DirEntry[str]) -> bool:
    """Return whether a file holds the target of a link, as Git and zip write links on systems without them."""
    if "." in entry.name or entry.stat().st_size > MAX_TARGET:
        return False
    target = read_regular(entry.path, MAX_TARGET)
    return target.strip() == target != b"" and os.path.isdir(
        os.path.join(os.path.dirname(entry.path), os.fsdecode(target))
    )
