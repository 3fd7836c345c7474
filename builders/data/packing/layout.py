"""The layout of a source of images: what it was recognised as, and where its labels and captions come from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from builders.data.packing.source import Source
from builders.data.recognition.left_out import LeftOut
from builders.data.recognition.walk import walk
from builders.files import read_regular
from specs.addresses import without_secrets
from specs.printable import printable

__all__ = ["Layout", "Listing", "Recognised", "clean", "list_folder", "listed"]

#: Largest size of a text beside an image in bytes.
MAX_TEXT = 2**26


@dataclass(frozen=True, slots=True)
class Layout:
    """What a source of images was recognised as.

    Attributes:
        kind: Name of the layout, such as "image folder".
        labels: Where labels come from; "" if there are none.
        captions: Where captions come from; "" if there are none.
        splits: Splits that the source assigns.
        left_out: What is not read, one line per kind.
        notes: What the user should know about the source, one sentence each.
    """

    kind: str
    labels: str = ""
    captions: str = ""
    splits: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = [self.kind, f"labels: {self.labels or 'none'}", f"captions: {self.captions or 'none'}"]
        if self.splits:
            parts.append(f"splits: {', '.join(self.splits)}")
        return printable(without_secrets("; ".join(parts)))


@dataclass(frozen=True, slots=True)
class Recognised:
    """The images of a source, and its layout."""

    sources: tuple[Source, ...]
    layout: Layout


@dataclass(frozen=True, slots=True)
class Listing:
    """The files of a folder or an archive.

    Attributes:
        name: Name of the folder or archive in messages.
        files: Names relative to it, separated by "/", sorted part by part, without hidden ones.
        read: Returns the content of a file; raises OSError or DataError.
        source: Returns the image of a name; keyword arguments are further attributes of :class:`Source`.
        left_out: What is not listed, because it is not a regular file.
    """

    name: str
    files: tuple[str, ...]
    read: Callable[[str], bytes]
    source: Callable[..., Source]
    left_out: LeftOut = field(default_factory=LeftOut)


def list_folder(folder: Path) -> Listing:
    """List the files of a folder and its subfolders."""
    found = walk(folder)
    return Listing(str(folder), found.files, partial(_read, folder), partial(_source, folder), found.left_out)


def clean(text: str) -> str:
    """Return a text without lone surrogates (from file names that are not UTF-8), which JSON and YAML cannot hold."""
    return text.encode("utf-8", "backslashreplace").decode()


def listed(names: Sequence[str]) -> str:
    """Return names for messages, the first five and the last one."""
    return ", ".join(names[:5]) + (f", ... {names[-1]}" if len(names) > 5 else "")


def _read(folder: Path, name: str) -> bytes:
    return read_regular(folder / name, MAX_TEXT)


def _source(folder: Path, name: str, **facts: Any) -> Source:
    stem, _, extension = name.rpartition(".")
    return Source(key=clean(stem), path=str(folder / name), extension=extension.lower(), **facts)
