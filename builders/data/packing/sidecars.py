"""Texts beside an image in a folder: ``0.txt``, ``0.caption`` and ``0.json`` of ``0.png``."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace

from builders.data.errors import DataError
from builders.data.packing.layout import Listing, clean, clean_label
from builders.data.packing.source import Source
from builders.data.recognition.formats import extension_of
from builders.data.recognition.other_files import CAPTIONS
from builders.data.recognition.text import decode_text
from builders.data.shards import sample_facts
from builders.data.tables.columns import CAPTIONS as KEYS

__all__ = ["Sidecars", "box_notes"]

#: A line with a class and the numbers of a box or a polygon.
_BOX = re.compile(r"\d+( -?[\d.]+(e-?\d+)?){4,}", re.IGNORECASE)


class Sidecars:
    """The texts beside the images of a folder.

    Args:
        listing: Files of the folder.
        caption: JSON key of captions; then text files are not read. Default: a text file, or the usual keys.
        label: JSON key of labels. Default: labels are not read from JSON.
    """

    def __init__(self, listing: Listing, caption: str | None = None, label: str | None = None) -> None:
        self.listing, self.caption, self.label = listing, caption, label
        kinds = (*CAPTIONS, "json")
        self._texts = {
            (name.rpartition(".")[0], extension): name
            for name in listing.files
            if (extension := extension_of(name)) in kinds
        }

    def add(self, source: Source, name: str) -> Source:
        """Return an image with its caption and label, or with the reason why they cannot be read."""
        try:
            caption = "" if self.caption else self._text(name)
            if self.label or not caption:
                facts = self._json(name)
                caption = caption or facts["caption"]
                source = replace(source, category=clean_label(facts["category"])) if self.label else source
            return replace(source, caption=clean(caption))
        except DataError as error:
            return replace(source, problem=str(error))

    def _find(self, name: str, kinds: Sequence[str]) -> str | None:
        stems = (name.rpartition(".")[0], name)
        return next((self._texts[stem, kind] for stem in stems for kind in kinds if (stem, kind) in self._texts), None)

    def _text(self, name: str) -> str:
        text = self._find(name, CAPTIONS)
        return "" if text is None else decode_text(self._read(text), f"{self.listing.name}/{text}").strip()

    def _json(self, name: str) -> dict[str, str]:
        found = self._find(name, ("json",))
        content = b"{}" if found is None else self._read(found)
        if not self.caption and not self.label and not _is_mapping(content):
            content = b"{}"  # it need not describe the image
        names = {"caption": (self.caption,) if self.caption else KEYS, "category": (self.label or "",), "group": ()}
        return sample_facts({"__key__": found or name, "json": content}, names)

    def _read(self, name: str) -> bytes:
        try:
            return self.listing.read(name)
        except OSError as error:
            raise DataError(f"{self.listing.name}/{name}: {error.strerror or error}") from None


def box_notes(captions: Sequence[str]) -> tuple[str, ...]:
    """Return a note if all captions are boxes of objects, which are no texts."""
    texts = [caption for caption in captions if caption]
    if not texts or not all(_BOX.fullmatch(line.strip()) for text in texts for line in text.splitlines()[:3]):
        return ()
    first = texts[0].partition("\n")[0][:60]
    return (
        f"the captions are numbers, such as {first!r}, as of boxes in YOLO's format; move them away to ignore them",
    )


def _is_mapping(content: bytes) -> bool:
    try:
        return isinstance(json.loads(content), dict)
    except (ValueError, RecursionError):
        return False
