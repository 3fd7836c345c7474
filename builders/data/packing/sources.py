"""Images and videos to pack: from folders, tables that list images, zip files, and shards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from builders.data.errors import DataError, PackError
from builders.data.packing.edm import EDM
from builders.data.packing.folders import NONE, recognise_images
from builders.data.packing.kinds import check_kind
from builders.data.packing.layout import Listing, Recognised, list_folder
from builders.data.packing.shard_sources import recognise_shards
from builders.data.packing.source import Source
from builders.data.packing.table_files import TABLES, recognise_metadata, recognise_parquet, recognise_table
from builders.data.packing.zip_files import list_zip
from builders.data.recognition.file_kinds import PACKABLE
from builders.data.recognition.folder_kind import folder_kind
from builders.data.recognition.formats import extension_of
from builders.data.recognition.media import IMAGE, VIDEO, Media
from builders.data.recognition.members import Choice
from builders.data.tables.columns import CAPTIONS, LABELS
from builders.data.urls import is_address
from specs.addresses import shown_address
from specs.errors import quote
from specs.user_paths import expanded as expand_home

__all__ = ["PackError", "Source", "find_sources", "recognise"]


def find_sources(path: str | Path, **choices: Any) -> list[Source]:
    """Return the files of a source; arguments and errors as :func:`recognise`, which also returns its layout."""
    return list(recognise(path, **choices).sources)


def recognise(
    path: str | Path,
    *,
    caption: str | None = None,
    label: str | None = None,
    group: str | None = None,
    image: str | None = None,
    delimiter: str | None = None,
    max_broken: float = 0.01,
    videos: bool = False,
) -> Recognised:
    """Return the images or videos of a folder, table, zip file or dataset, and their layout.

    Columns are found by their names, whatever their case and punctuation; :mod:`builders.data.tables.columns` lists
    the names.

    Args:
        path: Folder of images, with ``metadata.csv``, ``.jsonl`` or ``.parquet`` files, or in one of the layouts of
            :mod:`builders.data.packing.folders`; a zip file of such a folder; a CSV, TSV, JSON, JSON Lines or parquet
            file, or a folder of parquet files; or a shard or a brace range of shards.
        caption: Column or JSON key of captions, or the name of a shard's members that hold them. Default: caption,
            text, prompt, annotation and similar names; the first that is not empty.
        label: Column or JSON key of labels; "folder" for the names of subfolders, "none" for no labels in
            a folder or shards. Default: category, label, class, cls
            and similar names.
        group: Column or JSON key of groups of near-duplicates, which stay in one split. Default: "group" in datasets
            with a ``dataset.yaml``, otherwise none.
        image: Column or JSON key of image paths, relative to the file, or the name of a shard's members that hold
            images. Default: path, image, file, file_name and similar names, or the only column of image paths.
        delimiter: Character between the fields of a CSV file. Default: found from the text.
        max_broken: Largest share of the rows of a table that may be skipped because they list no image.
        videos: Whether videos are wanted, not images.

    Raises:
        PackError: The path does not exist, has no images, holds files of the other kind, is ambiguous, or a given
            column is missing.
    """
    asked = {"image": image, "caption": caption, "label": label, "group": group}
    try:
        found = _recognise(str(path), expand_home(path), asked, delimiter, max_broken, VIDEO if videos else IMAGE)
    except PackError:
        raise
    except DataError as error:
        raise PackError(str(error)) from None
    except (OSError, ValueError) as error:  # a name that is too long or has a null byte, a loop of links
        raise PackError(f"{quote(str(path))[1:-1]}: {getattr(error, 'strerror', None) or error}") from None
    for option, attribute, name in (
        ("--caption", "caption", caption),
        ("--label", "category", label),
        ("--group", "group", group),
    ):
        unwanted = name is None or (option == "--label" and name == NONE)
        if not unwanted and found.sources and not any(getattr(source, attribute) for source in found.sources):
            raise PackError(f"{path}: no {'video' if videos else 'image'} has a {name!r}, which {option} names")
    return found


def _recognise(
    given: str, path: Path, asked: Mapping[str, str | None], delimiter: str | None, max_broken: float, media: Media
) -> Recognised:
    extension = extension_of(path.name)
    if is_address(given) and extension in PACKABLE:
        raise PackError(f"{shown_address(given)}: only shards are downloaded; download the file and pack it")
    if path.is_dir():
        if folder_kind(path, media) == "images":
            return _recognise_listing(list_folder(path, media), asked, delimiter, max_broken, path)
    elif extension in (*TABLES, "txt"):
        return recognise_table(path, asked, delimiter=delimiter, max_unfit=max_broken, media=media)
    elif extension == "zip":
        return _recognise_listing(list_zip(path, media), asked, delimiter, max_broken)
    return recognise_shards(
        given,
        {
            "caption": (name,) if (name := asked["caption"]) else CAPTIONS,
            "label": (name,) if (name := asked["label"]) else LABELS,
            "group": (name,) if (name := asked["group"]) else (),
        },
        Choice(asked["image"], asked["caption"], asked["label"]),
        media,
    )


def _recognise_listing(
    listing: Listing,
    asked: Mapping[str, str | None],
    delimiter: str | None,
    max_broken: float,
    folder: Path | None = None,
) -> Recognised:
    """Return the files of a folder or an archive: those that metadata or parquet files list, or all of them."""
    check_kind(listing)
    found = recognise_metadata(listing, asked, delimiter=delimiter, max_unfit=max_broken)
    if found is not None:
        return found
    extensions = {extension_of(name) for name in listing.files}
    media = listing.media
    if folder is not None and "parquet" in extensions and not extensions & {*media.extensions}:
        parquet = [folder / name for name in listing.files if extension_of(name) == "parquet"]
        return recognise_parquet(parquet, asked, max_unfit=max_broken, media=media)
    if not extensions & {*media.extensions}:
        _refuse_other_files(listing, folder)
    found = recognise_images(listing, asked["label"], asked["caption"])
    return replace(found, layout=replace(found.layout, notes=(*found.layout.notes, *_tables_beside(listing, folder))))


def _refuse_other_files(listing: Listing, folder: Path | None) -> None:
    """Refuse a folder or an archive that holds only a table or an archive, and say what to give instead."""
    noun = listing.media.noun
    names = [name for name in listing.files if extension_of(name) in (*PACKABLE, "tar")]
    # JSON files also describe datasets of other formats.
    other = min(names, key=lambda name: (extension_of(name) == "json", name), default=None)
    if other is None:
        return
    if folder is None:
        raise PackError(f"{listing.name}: no {noun}s in this zip file, but {other}; unpack it and pack {other}")
    raise PackError(f"{folder}: no {noun}s in this folder; to pack what {other} lists or holds, give {folder / other}")


def _tables_beside(listing: Listing, folder: Path | None) -> Iterator[str]:
    """Yield a note for each table at the top of a folder of images, which is not read."""
    stems = {name.rpartition(".")[0] for name in listing.files if listing.media.names(name)}
    for name in listing.files:
        stem = name.rpartition(".")[0]
        described = stem in stems or stem.endswith("_stats") or name == EDM
        if "/" in name or described or extension_of(name) not in TABLES or (stem.isdecimal() and "parquet" in name):
            continue
        where = f"pack {folder / name} instead" if folder else "unpack the archive and pack the table"
        yield f"{name} is not read; to use its captions and labels, {where}"
