"""Tables as sources: CSV, TSV, JSON, JSON Lines and parquet files, and metadata in folders and archives."""

from __future__ import annotations

import os
import posixpath
from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from builders.data.dataset_card import sort_classes
from builders.data.errors import DataError, PackError
from builders.data.packing.image_names import image_folder
from builders.data.packing.kinds import columns_of
from builders.data.packing.layout import Layout, Listing, Recognised, clean, clean_label
from builders.data.packing.source import Source
from builders.data.packing.table_sources import FileFinder, MemberFinder, TableImages, check_rows, table_images
from builders.data.recognition.formats import IMAGES, extension_of
from builders.data.recognition.left_out import LeftOut
from builders.data.recognition.media import IMAGE, Media, wrong_kind
from builders.data.recognition.split_folders import SplitFolders, find_splits, split_of, split_of_file
from builders.data.recognition.text import decode_text
from builders.data.tables.columns import Columns, first_text, unused_splits, unused_texts
from builders.data.tables.csv_table import csv_table, read_delimiter
from builders.data.tables.json_table import json_lines_table, json_table
from builders.data.tables.parquet_table import ImageColumn, parquet_table
from builders.data.tables.table import Row, Table
from builders.files import read_regular

__all__ = ["METADATA", "TABLES", "recognise_metadata", "recognise_parquet", "recognise_table"]

#: Extensions of tables.
TABLES = ("csv", "tsv", "tab", "json", "jsonl", "ndjson", "parquet")
#: Files that describe the images of their folder and its subfolders, as in Hugging Face's imagefolder.
METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
#: ``--label`` that makes the names of folders the labels.
FOLDER = "folder"
#: Largest size of a table in bytes.
MAX_TABLE = 2**32


def recognise_table(
    path: Path,
    asked: Mapping[str, str | None],
    *,
    delimiter: str | None = None,
    max_unfit: float = 0.01,
    media: Media = IMAGE,
) -> Recognised:
    """Return the images or videos that a file lists.

    Args:
        path: Path of a CSV, TSV, JSON, JSON Lines or parquet file.
        asked: Columns that the user asks for, by purpose: "image", "caption", "label", "group".
        delimiter: Delimiter of a CSV file. Default: found from its text.
        max_unfit: Largest share of rows that may list no image.
        media: Kind of the files.

    Raises:
        PackError: The file cannot be read, has no column of paths, too many of its rows list none, or it lists files
            of the other kind.
    """
    if extension_of(path.name) == "parquet":
        return recognise_parquet([path], asked, max_unfit=max_unfit, media=media)
    delimiter = None if delimiter is None else read_delimiter(delimiter)
    table = _read(str(path), _content(path), asked, delimiter)
    columns = columns_of(table, asked, media)
    folder = path.parent if columns.archive else image_folder(path.parent, _listed(table, columns), media)
    images = table_images(table, columns, FileFinder(folder, columns, media), media)
    check_rows(str(path), images.unfit, len(table.rows), max_unfit)
    layout = _layout(str(path), images.sources, [(table, columns)], LeftOut(), media)
    if images.sources and not any(os.path.lexists(source.path) for source in images.sources[:20]):
        note = f"{path}: the files that it lists do not exist; paths are relative to {path.parent}"
        layout = replace(layout, notes=(*layout.notes, note))
    elif folder != path.parent:
        layout = replace(layout, notes=(*layout.notes, f"{path}: paths are relative to {folder}"))
    return Recognised(images.sources, layout)


def _listed(table: Table, columns: Columns) -> Iterator[str]:
    """Yield the paths of images in a table."""
    return (first_text(row.fields, columns.image) for row in table.rows if not row.problem)


def recognise_parquet(
    paths: Sequence[Path], asked: Mapping[str, str | None], *, max_unfit: float = 0.01, media: Media = IMAGE
) -> Recognised:
    """Return the images in parquet files, or those that they list by path.

    Names such as ``train-00000-of-00002.parquet``, or folders called like splits, assign splits.

    Raises:
        PackError: A file cannot be read, has no column of images, or too many rows have none.
    """
    sources: list[Source] = []
    unfit: list[str] = []
    read: list[tuple[Table, Columns]] = []
    left_out = LeftOut()
    folder = os.path.commonpath([path.parent for path in paths])
    for path, split in zip(paths, _file_splits(paths), strict=True):
        table, column = parquet_table(path, asked.get("image"))
        if column is not None and media is not IMAGE:
            raise PackError(wrong_kind(str(path), f"row 1 of {column.name!r}", media))
        table = _downloaded(table, left_out)
        columns = columns_of(table, {**asked, "image": column.name} if column else asked, media, embedded=bool(column))
        prefix = f"{clean(os.path.relpath(path.with_suffix(''), folder))}/" if len(paths) > 1 else ""
        if column is None:
            finder: FileFinder | _RowFinder = FileFinder(
                image_folder(path.parent, _listed(table, columns), media), columns, media
            )
        else:
            finder = _RowFinder(path, column, prefix)
        images = table_images(table, columns, finder, media)
        sources += [replace(source, split=split or source.split) for source in images.sources]
        unfit += images.unfit
        read.append((table, columns))
    name = str(paths[0]) if len(paths) == 1 else folder
    check_rows(name, unfit, len(sources), max_unfit)
    return Recognised(tuple(sources), _layout(name, sources, read, left_out, media))


def _file_splits(paths: Sequence[Path]) -> list[str]:
    """Return the split of each file, by its name or its folder; "" if the files are no splits."""
    splits = [split_of_file(path.name) or split_of(path.parent.name) for path in paths]
    if len(paths) == 1 or "train" not in splits:
        return [""] * len(paths)
    if not all(splits):
        other, train = paths[splits.index("")], paths[splits.index("train")]
        raise PackError(f"{other}: names no split (train, val or test), but {train} does; move one of them away")
    return splits


def _downloaded(table: Table, left_out: LeftOut) -> Table:
    """Return a table without the rows that img2dataset failed to download."""
    if not any(row.fields.get("status") == "success" for row in table.rows):
        return table
    for row in table.rows:
        if row.fields.get("status") != "success":
            left_out.add("images that were not downloaded", table.place(row))
    return replace(table, rows=tuple(row for row in table.rows if row.fields.get("status") == "success"))


class _RowFinder:
    """Finds the images in the rows of a parquet file."""

    def __init__(self, path: Path, column: ImageColumn, prefix: str) -> None:
        self.path, self.column, self.prefix = path, column, prefix

    def __call__(self, row: Row, name: str) -> Source:
        extension = extension_of(name)
        key = f"{self.prefix}{row.number - 1:08d}"
        known = extension if extension in IMAGES else ""
        return Source(key, str(self.path), known, offset=row.number - 1, size=0, column=self.column)


def recognise_metadata(
    listing: Listing, asked: Mapping[str, str | None], *, delimiter: str | None = None, max_unfit: float = 0.01
) -> Recognised | None:
    """Return the files of a folder or archive that its metadata files list, as Hugging Face's imagefolder does.

    A metadata file lists images of its folder and the folders below. Images that no row lists are left out and counted.

    Returns:
        None if there is no metadata file.

    Raises:
        PackError: A metadata file cannot be read, has no column of images, or too many of its rows list none.
    """
    names = _metadata_names(listing)
    if not names:
        return None
    media = listing.media
    images = [name for name in listing.files if media.names(name)]
    folders = _Folders(listing, images, asked)
    left_out = LeftOut()
    left_out.update(listing.left_out)
    found: list[TableImages] = []
    read: list[tuple[Table, Columns]] = []
    listed: set[str] = set()
    delimiter = None if delimiter is None else read_delimiter(delimiter)
    for name in names:
        path = posixpath.join(listing.name, name)
        table = _read(path, _metadata(listing, name, path), asked, delimiter)
        columns = columns_of(table, folders.asked, media)
        table = _without(table, columns, posixpath.dirname(name), listed)
        finder = MemberFinder(posixpath.dirname(name), folders.images, columns, folders.source, media)
        found.append(table_images(table, columns, finder, media))
        listed |= finder.found
        read.append((table, columns))
    for name in images:
        if name not in listed:
            left_out.add(f"{media.noun}s that no row of the metadata lists", name)
    sources = [source for each in found for source in each.sources]
    check_rows(listing.name, [text for each in found for text in each.unfit], len(sources), max_unfit)
    layout = _layout(listing.name, sources, read, left_out, media)
    notes = () if any(source.category for source in sources) else folders.notes()
    if not layout.captions and any(text in listed for text in _captioned(listing, images)):
        notes += (f"{listing.name}: captions in .txt files are not read beside metadata",)
    return Recognised(tuple(sources), replace(layout, notes=(*notes, *layout.notes)))


def _metadata_names(listing: Listing) -> list[str]:
    """Return the metadata files. Those deeper in the tree come first: the nearest one describes an image."""
    names = [name for name in listing.files if posixpath.basename(name).lower() in METADATA]
    twice = [folder for folder, count in Counter(map(posixpath.dirname, names)).items() if count > 1]
    if twice:
        raise PackError(f"{posixpath.join(listing.name, twice[0])}: several metadata files; leave one of them")
    return sorted(names, key=lambda name: -name.count("/"))


def _metadata(listing: Listing, name: str, path: str) -> bytes:
    """Return the content of a metadata file, which may be larger than other texts of a folder."""
    if Path(listing.name).is_dir():
        return _content(Path(path))
    try:
        return listing.read(name)
    except OSError as error:
        raise PackError(f"{path}: {error.strerror or error}") from None


def _without(table: Table, columns: Columns, folder: str, listed: Container[str]) -> Table:
    """Return a table without the rows of images that a metadata file nearer to them lists."""

    def path(row: Row) -> str:
        return posixpath.normpath(posixpath.join(folder, first_text(row.fields, columns.image).replace("\\", "/")))

    return replace(table, rows=tuple(row for row in table.rows if path(row) not in listed))


def _captioned(listing: Listing, images: Sequence[str]) -> Iterator[str]:
    """Yield the images that have a text beside them."""
    texts = {name.rpartition(".")[0] for name in listing.files if extension_of(name) == "txt"}
    yield from (name for name in images if name.rpartition(".")[0] in texts)


class _Folders:
    """Splits that the folders of images assign, and labels if the user asks for them (``--label folder``)."""

    def __init__(self, listing: Listing, images: Sequence[str], asked: Mapping[str, str | None]) -> None:
        self.listing, self.images = listing, frozenset(images)
        self.are_labels = asked.get("label") == FOLDER
        self.asked = {**asked, "label": None} if self.are_labels else asked
        self._splits = SplitFolders() if self.are_labels else find_splits(images, listing.name)

    def source(self, name: str) -> Source:
        """Return an image with its split and label."""
        split, path = self._splits.of(name)
        label = path.partition("/")[0] if self.are_labels and "/" in path else ""
        return self.listing.source(name, split=split, category=clean_label(label))

    def notes(self) -> tuple[str, ...]:
        """Return that folders are not used as labels, if they may be labels."""
        paths = {path.partition("/")[0] for name in self.images if "/" in (path := self._splits.of(name)[1])}
        if len(paths) < 2 or self.are_labels or all(path.isdecimal() for path in paths):
            return ()
        listed = ", ".join(sorted(paths)[:3])
        hint = f"the names of folders ({listed}, ...) are not labels beside metadata; --label folder makes them labels"
        return (f"{self.listing.name}: {hint}",)


def _content(path: Path) -> bytes:
    try:
        return read_regular(path, MAX_TABLE)
    except FileNotFoundError:
        raise PackError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise PackError(f"{path}: {getattr(error, 'strerror', None) or error}") from None


def _read(path: str, content: bytes, asked: Mapping[str, str | None], delimiter: str | None) -> Table:
    """Return the table in a file."""
    extension = extension_of(path)
    if extension == "parquet":
        return parquet_table(Path(path), asked.get("image"), content)[0]
    try:
        text = decode_text(content, path)
    except DataError as error:
        raise PackError(str(error)) from None
    if extension in ("jsonl", "ndjson"):
        return json_lines_table(path, text)
    if extension == "json":
        return json_table(path, text)
    return csv_table(path, text, delimiter=delimiter, wanted=[name for name in asked.values() if name])


def _layout(
    name: str, sources: Sequence[Source], read: Sequence[tuple[Table, Columns]], left_out: LeftOut, media: Media
) -> Layout:
    labels = sort_classes(source.category for source in sources)
    captions = sum(bool(source.caption) for source in sources)
    missing = sum(not source.category and not source.problem for source in sources)
    without = f" (no label: {missing:,})" if missing else ""
    notes = [note for table, _ in read for note in table.notes]
    notes += [note for table, columns in read if (note := unused_splits(table, columns))]
    for table, columns in read[:1]:
        unused = unused_texts(table, columns)
        if unused:
            notes.append(
                f"{table.path}: columns {', '.join(unused[:8])} are not used; name captions with --caption and labels "
                "with --label"
            )
    return Layout(
        kind=f"{name}: table of {len(sources):,} {media.noun}{'s' * (len(sources) != 1)}",
        labels=f"{len(labels):,} class{'es' * (len(labels) != 1)}{without}" if labels else "",
        captions=f"{captions:,}" if captions else "",
        splits=tuple(
            f"{split} ({count:,})" for split, count in Counter(source.split for source in sources).items() if split
        ),
        left_out=left_out.lines(),
        notes=tuple(notes),
    )
