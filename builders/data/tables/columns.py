"""Columns of a table by purpose: image paths, captions, labels, groups."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from builders.data.errors import PackError
from builders.data.recognition.media import IMAGE, Media
from builders.data.recognition.split_folders import split_of
from builders.data.tables.table import Fields, Table
from specs.errors import did_you_mean, quote

__all__ = [
    "CAPTIONS",
    "LABELS",
    "MAX_COLUMNS",
    "Columns",
    "choose_columns",
    "first_text",
    "given_text",
    "is_image_column",
    "repeated",
    "same_name",
    "unused_splits",
    "unused_texts",
]

#: Default columns, in order of preference. Names are compared without case, spaces and punctuation.
_IMAGES = "path image file file_name image_path image_file img img_path file_path image_name images".split()
_VIDEOS = "video path video_path video_file video_name file file_name file_path videos".split()
_FILES = {"image": _IMAGES, "video": _VIDEOS}
CAPTIONS = ("caption", "text", "prompt", "annotation", "captions", "description")
LABELS = ("category", "label", "class", "cls", "class_name", "label_name", "category_name", "labels")
#: Columns of archives whose members a table lists.
ARCHIVES = ("tar", "tar_path", "tarfile", "shard")
#: Columns of splits.
SPLITS = ("split", "subset", "partition")
#: Columns of addresses.
ADDRESSES = ("url", "image_url", "img_url", "video_url")
#: Texts that programs write for a missing value.
MISSING = frozenset(("nan", "<na>", "null", "n/a", "#n/a"))
#: Columns that hold no captions: their absence from the result needs no warning.
_OTHER = "id key index width height size status error_message sha256 md5 hash exif license original_width".split()


#: Largest number of columns, and number of characters by which their names are compared.
MAX_COLUMNS, MAX_NAME = 10_000, 200


@dataclass(frozen=True, slots=True)
class Columns:
    """Names of columns by purpose, in order of preference.

    Attributes:
        image: Paths of images.
        caption: Captions.
        label: Labels.
        group: Groups of near-duplicates.
        archive: Archives that hold the images.
        split: Splits, by one of their usual names in every row.
        asked: Purposes for which the user named a column.
    """

    image: tuple[str, ...]
    caption: tuple[str, ...] = ()
    label: tuple[str, ...] = ()
    group: tuple[str, ...] = ()
    archive: tuple[str, ...] = ()
    split: tuple[str, ...] = ()
    asked: frozenset[str] = frozenset()


@lru_cache(maxsize=2 * MAX_COLUMNS)
def _plain_name(name: str) -> str:
    """Return the name of a column without case, spaces and punctuation."""
    return re.sub(r"[\W_]+", "", name[:MAX_NAME].casefold())


def repeated(names: Iterable[str]) -> str | None:
    """Return the first name that is there twice, up to case, spaces and punctuation; None if there is none."""
    seen: set[str] = set()
    for name in filter(None, names):
        if _plain_name(name) in seen:
            return name
        seen.add(_plain_name(name))
    return None


_KNOWN = frozenset(map(_plain_name, (*_IMAGES, *_VIDEOS, *ADDRESSES)))


def same_name(a: str, b: str) -> bool:
    """Return whether two names of columns differ only in case, spaces and punctuation."""
    return _plain_name(a) == _plain_name(b)


def is_image_column(name: str) -> bool:
    """Return whether a column holds paths or addresses of images or videos, by its name."""
    return _plain_name(name) in _KNOWN or _plain_name(name).endswith("filename")


def choose_columns(table: Table, asked: Mapping[str, str | None], media: Media = IMAGE) -> Columns:
    """Return the columns of a table by purpose.

    Args:
        table: Table.
        asked: Columns that the user asks for, by purpose: "image", "caption", "label", "group".
        media: Kind of the files that are listed: images or videos.

    Raises:
        PackError: A column that is asked for does not exist, or no column holds paths of images or videos.
    """
    if len(table.columns) > MAX_COLUMNS:
        raise PackError(f"{table.path}: {len(table.columns):,} columns; the limit is {MAX_COLUMNS:,}")
    image = (_asked(table, media.noun, name),) if (name := asked.get("image")) else _image_columns(table, media)
    caption = (_asked(table, "caption", name),) if (name := asked.get("caption")) else _known(table, CAPTIONS)
    label = (_asked(table, "label", name),) if (name := asked.get("label")) else _known(table, LABELS)
    group = (_asked(table, "group", name),) if (name := asked.get("group")) else ()
    named = frozenset(purpose for purpose, name in asked.items() if name)
    split = tuple(name for name in _known(table, SPLITS) if _holds_splits(table, name))[:1]
    return Columns(image, caption, label, group, _known(table, ARCHIVES), split, named)


def _asked(table: Table, purpose: str, name: str) -> str:
    if name in table.columns:
        return name
    similar = [column for column in table.columns if same_name(column, name)]
    if len(similar) == 1:
        return similar[0]
    hint = did_you_mean(name, table.columns)
    raise PackError(f"{table.path}: no {purpose} column {name!r}{hint}; {table.described()}")


def _known(table: Table, names: Sequence[str]) -> tuple[str, ...]:
    """Return the columns with one of these names, in order of preference."""
    return tuple(column for name in names for column in table.columns if same_name(column, name))


def _image_columns(table: Table, media: Media) -> tuple[str, ...]:
    """Return the columns with paths of images: by their names, or the only one whose texts end like image files."""
    noun, wanted = media.noun, _FILES[media.noun]
    found = _known(table, wanted)
    if found:
        return found
    if not table.columns:
        broken = next((f"; {table.unit} {row.number}: {row.problem}" for row in table.rows if row.problem), "")
        raise PackError(f"{table.path}: lists no {noun}s{broken}")
    guessed = [column for column in table.columns if _plain_name(column).endswith("filename")]
    guessed = guessed or [column for column in table.columns if _holds_images(table, column, media)]
    if len(guessed) == 1:
        return tuple(guessed)
    problem = f"no column of {noun} paths"
    if len(guessed) > 1:
        problem = f"several columns hold {noun} paths ({', '.join(guessed)})"
    elif addresses := _known(table, ADDRESSES):
        problem = (
            f"column {addresses[0]!r} holds addresses, which are not downloaded ({media.downloader} does so, and its "
            f"shards can be packed); no column holds paths of {noun}s"
        )
    raise PackError(
        f"{table.path}: {problem}; {table.described()}. Looked for {', '.join(wanted)}; name the column with "
        f"{media.option}"
    )


def _holds_images(table: Table, column: str, media: Media) -> bool:
    texts = [text for row in table.rows[:1000] if (text := row.fields.get(column))]
    return bool(texts) and all(media.looks_like(text) and "://" not in text for text in texts)


def _holds_splits(table: Table, column: str) -> bool:
    """Return whether each row names a split, and some of them train."""
    splits = {split_of((row.fields.get(column) or "").strip()) for row in table.rows if not row.problem}
    return "" not in splits and "train" in splits


def first_text(fields: Fields, columns: Sequence[str]) -> str:
    """Return the first text in some columns that is not empty."""
    return next((text.strip() for column in columns if (text := fields.get(column)) and text.strip()), "")


def given_text(fields: Fields, columns: Sequence[str]) -> str:
    """Return the first text in some columns that is neither empty nor a word for a missing value, such as "nan"."""
    found = (first_text(fields, (column,)) for column in columns)
    return next((text for text in found if text and text.lower() not in MISSING), "")


def unused_splits(table: Table, columns: Columns) -> str:
    """Return why a column of splits is not used; "" if it is used, or if there is none."""
    names = _known(table, SPLITS)
    if columns.split or not names:
        return ""
    values = [(row, (row.fields.get(names[0]) or "").strip()) for row in table.rows if not row.problem]
    odd = next(((row, value) for row, value in values if not split_of(value)), None)
    if not any(value for _, value in values):
        return ""
    why = "no row is called train" if odd is None else f"{table.unit} {odd[0].number} has {quote(odd[1])}"
    return f"{table.path}: column {quote(names[0])} does not assign splits ({why}; train, val or test in each row does)"


def unused_texts(table: Table, columns: Columns) -> tuple[str, ...]:
    """Return columns that may be captions or labels if none is chosen, for a warning."""
    if columns.caption or columns.label:
        return ()
    used = {*columns.image, *columns.group, *columns.archive, *columns.split}
    others = {_plain_name(name) for name in (*_OTHER, *ADDRESSES)}
    return tuple(name for name in table.columns if name not in used and _plain_name(name) not in others)
