"""Sources of the other kind, or of both kinds: images where videos are wanted, and the reverse."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from itertools import islice

from builders.data.errors import PackError
from builders.data.packing.layout import Listing
from builders.data.packing.source import Source
from builders.data.recognition.media import IMAGE, VIDEO, Media, mixed_kinds, wrong_kind
from builders.data.tables.columns import Columns, choose_columns, first_text
from builders.data.tables.table import Table
from builders.files import open_regular

__all__ = ["check_kind", "check_sources", "columns_of"]

#: Number of files with the name of a video whose first bytes are looked at.
LOOKED_AT = 20
#: First bytes of Matroska, WebM and AVI.
_STARTS = (b"\x1a\x45\xdf\xa3", b"RIFF")
#: Types of the first box of MP4 and MOV.
_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip")


def check_kind(listing: Listing) -> None:
    """Check that a folder or an archive holds files of the kind that is wanted, and none of the other.

    Among images, a file that is only called like a video is no video; it is counted with what is left out.

    Raises:
        PackError: It holds files of the other kind.
    """
    images = [name for name in listing.files if IMAGE.names(name)]
    videos = [name for name in listing.files if VIDEO.names(name)]
    if images and videos:
        real = _first_video(listing, videos) if listing.media is IMAGE else videos[0]
        if real is not None:
            raise PackError(mixed_kinds(listing.name, images[0], real))
    found = images if listing.media is VIDEO else videos
    if found and not (videos if listing.media is VIDEO else images):
        raise PackError(wrong_kind(listing.name, found[0], listing.media))


def check_sources(where: str, sources: Sequence[Source], media: Media) -> None:
    """Check that members of shards are of the kind that is wanted, and none of the other.

    Raises:
        PackError: Some are of the other kind.
    """
    first: dict[str, Source] = {}
    for source in sources:
        for kind in (IMAGE, VIDEO):
            if source.extension in kind.extensions:
                first.setdefault(kind.noun, source)
    names = {noun: f"{source.key.partition('/')[2]}.{source.extension}" for noun, source in first.items()}
    if len(names) > 1:
        raise PackError(mixed_kinds(where, names["image"], names["video"]))
    if names and media.noun not in names:
        raise PackError(wrong_kind(where, next(iter(names.values())), media))


def columns_of(table: Table, asked: Mapping[str, str | None], media: Media, *, embedded: bool = False) -> Columns:
    """Return the columns of a table by purpose, after checking that it lists files of the kind that is wanted.

    Args:
        table: Table.
        asked: Columns that the user asks for, by purpose.
        media: Kind of the files.
        embedded: Whether the column of images holds their bytes.

    Raises:
        PackError: As for :func:`builders.data.tables.columns.choose_columns`, or the table lists files of the other
            kind.
    """
    other = VIDEO if media is IMAGE else IMAGE
    try:
        columns = choose_columns(table, asked, media)
    except PackError:
        example = ""
        with contextlib.suppress(PackError):
            example = _listed(table, choose_columns(table, asked, other))[other.noun]
        if example:
            raise PackError(wrong_kind(table.path, example, media)) from None
        raise
    found = {} if embedded else _listed(table, columns)
    if found.get("image") and found.get("video"):
        raise PackError(mixed_kinds(table.path, found["image"], found["video"]))
    if found.get(other.noun):
        raise PackError(wrong_kind(table.path, found[other.noun], media))
    return columns


def _listed(table: Table, columns: Columns) -> dict[str, str]:
    """Return the first path of each kind that a table lists, "" if there is none."""
    found = {"image": "", "video": ""}
    for row in table.rows:
        name = "" if row.problem else first_text(row.fields, columns.image)
        for kind in (IMAGE, VIDEO):
            if name and not found[kind.noun] and kind.looks_like(name):
                found[kind.noun] = name
    return found


def _first_video(listing: Listing, names: list[str]) -> str | None:
    """Return the first of some files that begins like a video; None if there is none."""
    for name in islice(names, LOOKED_AT):
        source = listing.source(name)
        if not source.is_file:  # of an archive, which would have to be decompressed
            return name
        with contextlib.suppress(OSError, ValueError), open_regular(source.path) as file:
            start = file.read(8)
            if start.startswith(_STARTS) or start[4:] in _BOXES:
                return name
    return None
