"""Images to pack: from folders, CSV and JSONL files that list images, and shards."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from builders.data.errors import DataError
from builders.data.packing.folders import recognise_images
from builders.data.packing.layout import Layout, Recognised, clean, list_folder
from builders.data.packing.shard_sources import recognise_shards
from builders.data.packing.source import PackError, Source
from builders.data.recognition.folder_kind import folder_kind
from builders.data.shards import IMAGES
from specs.errors import did_you_mean

__all__ = ["PackError", "Source", "find_sources", "recognise"]

#: File that describes the images of a folder, as in Hugging Face's imagefolder.
TABLE = "metadata.jsonl"
#: Default columns, in order of preference.
PATHS = ("path", "image", "file", "file_name", "filename")
CAPTIONS = ("caption", "text", "prompt", "annotation")
LABELS = ("category", "label", "class", "cls")
JSON_LINES = (".jsonl", ".ndjson")

#: Text columns of a row; None for a list or a mapping.
Row = Mapping[str, str | None]
#: Columns by kind ("caption", "label", "group"), in order of preference.
Columns = Mapping[str, tuple[str, ...]]


def find_sources(
    path: str | Path,
    *,
    caption: str | None = None,
    label: str | None = None,
    group: str | None = None,
    image: str | None = None,
) -> list[Source]:
    """Return the images of a source; see :func:`recognise`, which also returns its layout."""
    return list(recognise(path, caption=caption, label=label, group=group, image=image).sources)


def recognise(
    path: str | Path,
    *,
    caption: str | None = None,
    label: str | None = None,
    group: str | None = None,
    image: str | None = None,
) -> Recognised:
    """Return the images of a folder, of a CSV or JSONL file, or of shards, and their layout.

    Args:
        path: Folder of images, with a ``metadata.jsonl``, or in one of the layouts of
            :mod:`builders.data.packing.folders`; a ``.csv``, ``.tsv`` or ``.jsonl`` file; or a shard or a brace range
            of shards.
        caption: Column or JSON key of captions, or the name of a shard's members that hold them. Default: the first of
            caption, text, prompt, annotation.
        label: Column or JSON key of labels; "folder" for the names of subfolders. Default: the first of category,
            label, class, cls.
        group: Column or JSON key of groups of near-duplicates, which stay in one split. Default: "group" in datasets
            with a ``dataset.yaml``, otherwise none.
        image: Column or JSON key of image paths, relative to the file, or the name of a shard's members that hold
            images. Default: the first of path, image, file, file_name, filename.

    Raises:
        PackError: The path does not exist, has no images, is ambiguous, or a given column is missing.
    """
    columns = {
        "caption": (caption,) if caption else CAPTIONS,
        "label": (label,) if label else LABELS,
        "group": (group,) if group else (),
    }
    images = (image,) if image else PATHS
    given, path = str(path), Path(path).expanduser()
    try:
        if path.is_dir() and (path / TABLE).is_file():
            found = _from_table(path / TABLE, columns, images)
        elif path.is_dir() and folder_kind(path) == "images":
            found = recognise_images(list_folder(path), label)
        elif path.suffix.lower() in (".csv", ".tsv", *JSON_LINES):
            found = _from_table(path, columns, images)
        else:
            found = recognise_shards(given, columns)
    except PackError:
        raise
    except DataError as error:
        raise PackError(str(error)) from None
    for option, attribute, name in (
        ("--caption", "caption", caption),
        ("--label", "category", label),
        ("--group", "group", group),
    ):
        if name is not None and found.sources and not any(getattr(source, attribute) for source in found.sources):
            raise PackError(f"{path}: no image has a {name!r}, which {option} names")
    return found


def _from_table(path: Path, columns: Columns, images: tuple[str, ...]) -> Recognised:
    return Recognised(tuple(_table(path, columns, images)), Layout(f"{path}: table of images"))


def _table(path: Path, columns: Columns, images: tuple[str, ...]) -> list[Source]:
    if not path.is_file():
        raise PackError(f"{path}: no such file")
    rows = _json_lines(path) if path.suffix.lower() in JSON_LINES else _csv_rows(path)
    _check_columns(path, rows, columns)
    found = []
    for number, row in rows:
        name = next((row[column] for column in images if row.get(column)), None)
        if name is None:
            raise PackError(f"{path}, line {number}: no image path; looked for {', '.join(images)}")
        image = path.parent / name
        extension = image.suffix.lower().lstrip(".")
        if extension not in IMAGES:
            raise PackError(f"{path}, line {number}: {name!r} is not a {', '.join(IMAGES)} file")
        key = Path(name).with_suffix("").as_posix().lstrip("./") or str(number)
        if ".." in Path(key).parts:
            key = f"{number:08d}"
        caption, label, group = (clean(_first(row, columns[kind])) for kind in ("caption", "label", "group"))
        found.append(Source(clean(key), str(image), extension, caption, label, group))
    return found


def _check_columns(path: Path, rows: Sequence[tuple[int, Row]], columns: Columns) -> None:
    """Check that named columns exist, and that they and all captions are texts."""
    known = list(dict.fromkeys(column for _, row in rows for column in row))
    for kind, names in columns.items():
        if len(names) == 1 and rows and names[0] not in known:
            raise PackError(
                f"{path}: no {kind} column {names[0]!r}{did_you_mean(names[0], known)}; it has {', '.join(known)}"
            )
    for number, row in rows:
        for kind, names in columns.items():
            odd = next((name for name in names if name in row and row[name] is None), None)
            # A default column of labels may be a list with another meaning; captions must not be lost silently.
            if odd is not None and not _first(row, names) and (kind == "caption" or len(names) == 1):
                raise PackError(f"{path}, line {number}: {odd!r} is a list or a mapping; a {kind} must be one text")


def _csv_rows(path: Path) -> list[tuple[int, Row]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
            return [(reader.line_num, {k: v or "" for k, v in row.items() if k}) for row in reader]
    except UnicodeDecodeError as error:
        raise PackError(f"{path}: not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8") from None
    except csv.Error as error:
        raise PackError(f"{path}: not a CSV file: {error}") from None


def _json_lines(path: Path) -> list[tuple[int, Row]]:
    rows: list[tuple[int, Row]] = []
    # splitlines() would also split at line separators of Unicode, which captions may contain.
    for number, line in enumerate(path.read_text(encoding="utf-8-sig", errors="replace").split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            raise PackError(f"{path}, line {number}: not JSON") from None
        if not isinstance(row, dict):
            raise PackError(f"{path}, line {number}: not a mapping")
        texts = {key: str(v) if isinstance(v, (str, int, float)) else None for key, v in row.items() if v is not None}
        rows.append((number, texts))
    return rows


def _first(row: Row, columns: tuple[str, ...]) -> str:
    """Return the first text in some columns that is not empty."""
    return next((text.strip() for column in columns if (text := row.get(column))), "")
