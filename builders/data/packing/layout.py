"""The layout of a source: what it was recognised as, and where its labels and captions come from."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from builders.data.packing.source import Source
from builders.data.recognition.left_out import LeftOut
from builders.data.recognition.media import IMAGE, Media
from builders.data.recognition.walk import Walk, walk
from builders.files import read_regular
from specs.addresses import without_secrets
from specs.printable import printable

__all__ = ["Layout", "Listing", "Recognised", "clean", "clean_label", "list_folder", "listed"]

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
        source: Returns the image or video of a name; keyword arguments are further attributes of :class:`Source`.
        left_out: What is not listed, because it is not a regular file.
        notes: What the user should know about the files.
        media: Kind of the files that are wanted.
    """

    name: str
    files: tuple[str, ...]
    read: Callable[[str], bytes]
    source: Callable[..., Source]
    left_out: LeftOut = field(default_factory=LeftOut)
    notes: tuple[str, ...] = ()
    media: Media = IMAGE


def list_folder(folder: Path, media: Media = IMAGE) -> Listing:
    """List the files of a folder and its subfolders."""
    found = walk(folder)
    notes = tuple(_twice(folder, found, media))
    read, source = partial(_read, folder), partial(_source, folder)
    return Listing(str(folder), found.files, read, source, found.left_out, notes, media)


def _twice(folder: Path, found: Walk, media: Media) -> Iterator[str]:
    """Yield a note if images or videos are listed twice, by their own names and through links."""
    places: dict[str, str] = {}
    twice = []
    for name in found.files if found.links else ():
        if media.names(name) and places.setdefault(os.path.realpath(folder / name), name) != name:
            twice.append((name, places[os.path.realpath(folder / name)]))
    if twice:
        some = f"{len(twice):,} {media.noun}{'s are' if len(twice) > 1 else ' is'}"
        yield f"{some} there twice through links, such as {' and '.join(sorted(twice[0]))}"


def clean(text: str) -> str:
    """Return a text without lone surrogates (from file names that are not UTF-8), which JSON and YAML cannot hold."""
    return text.encode("utf-8", "backslashreplace").decode()


def clean_label(text: str) -> str:
    """Return the name of a class as :func:`clean`, without spaces around it, and with composed letters.

    Systems write the letter é in two ways, which would be two classes.
    """
    return unicodedata.normalize("NFC", clean(text).strip())


def listed(names: Sequence[str]) -> str:
    """Return names for messages, the first five and the last one."""
    return ", ".join(names[:5]) + (f", ... {names[-1]}" if len(names) > 5 else "")


def _read(folder: Path, name: str) -> bytes:
    return read_regular(folder / name, MAX_TEXT)


def _source(folder: Path, name: str, **facts: Any) -> Source:
    stem, _, extension = name.rpartition(".")
    return Source(key=clean(stem), path=str(folder / name), extension=extension.lower(), **facts)
