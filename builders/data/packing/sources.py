"""Images to pack: from folders, CSV and JSONL files that list images, and shards."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from builders.data.dataset_card import CARD, SHARDS, find_dataset, list_datasets
from builders.data.errors import DataError
from builders.data.shard_index import index_shard
from builders.data.shards import IMAGES
from specs.errors import did_you_mean

__all__ = ["PackError", "Source", "find_sources"]

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


class PackError(DataError):
    """A dataset cannot be packed; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Source:
    """An image to pack: a file, or a member of a shard.

    Attributes:
        key: Key of the sample.
        path: Path of the image or the shard.
        extension: Extension of the image, without a dot.
        caption: Caption, "" if there is none.
        category: Name of the class, "" if unknown.
        group: Group of near-duplicates, which stay in one split; "" if the image is its own group.
        offset: Position in the shard.
        size: Number of bytes in the shard; None for a file.
        problem: Why the image cannot be packed, if that is known.
    """

    key: str
    path: str
    extension: str
    caption: str = ""
    category: str = ""
    group: str = ""
    offset: int = 0
    size: int | None = None
    problem: str = ""

    @property
    def is_file(self) -> bool:
        """Whether the image is a file and not a member of a shard."""
        return self.size is None and not self.problem

    @property
    def origin(self) -> str:
        """Name of the image in messages."""
        return self.path if self.size is None else f"{self.path}: {self.key}.{self.extension}"

    def read(self) -> bytes:
        """Return the image as it is stored.

        Raises:
            OSError: The file cannot be read.
            DataError: The image cannot be packed.
        """
        if self.problem:
            raise DataError(self.problem)
        with open(self.path, "rb") as file:
            file.seek(self.offset)
            return file.read() if self.size is None else file.read(self.size)


def find_sources(
    path: str | Path,
    *,
    caption: str | None = None,
    label: str | None = None,
    group: str | None = None,
    image: str | None = None,
) -> list[Source]:
    """Return the images of a folder, of a CSV or JSONL file, or of shards.

    Args:
        path: Folder of images, with a ``metadata.jsonl``, or with subfolders as labels and ``NAME.txt`` beside an image
            as its caption; a ``.csv``, ``.tsv`` or ``.jsonl`` file; or a shard or a brace range of shards.
        caption: Column or JSON key of captions. Default: the first of caption, text, prompt, annotation.
        label: Column or JSON key of labels. Default: the first of category, label, class, cls.
        group: Column or JSON key of groups of near-duplicates, which stay in one split. Default: "group" in datasets
            with a ``dataset.yaml``, otherwise none.
        image: Column or JSON key of image paths, relative to the file. Default: the first of path, image, file,
            file_name, filename.

    Raises:
        PackError: The path does not exist, has no images, or a given column is missing.
    """
    columns = {
        "caption": (caption,) if caption else CAPTIONS,
        "label": (label,) if label else LABELS,
        "group": (group,) if group else (),
    }
    images = (image,) if image else PATHS
    given, path = str(path), Path(path)
    if path.is_dir() and (path / TABLE).is_file():
        found = _table(path / TABLE, columns, images)
    elif path.is_dir() and not any(child.name.endswith((*SHARDS, CARD)) for child in path.iterdir()):
        found = _folder(path)
    elif path.suffix.lower() in (".csv", ".tsv", *JSON_LINES):
        found = _table(path, columns, images)
    else:
        found = _shards(given, columns)
    for option, attribute, name in (
        ("--caption", "caption", caption),
        ("--label", "category", label),
        ("--group", "group", group),
    ):
        if name is not None and found and not any(getattr(source, attribute) for source in found):
            raise PackError(f"{path}: no image has a {name!r}, which {option} names")
    return found


def _folder(folder: Path) -> list[Source]:
    # Imports torch, which the processes of a pack do not need.
    from builders.data.image_folder import find_images

    found = []
    for path in find_images(folder):
        relative = path.relative_to(folder)
        text = path.with_suffix(".txt")
        caption = text.read_text(encoding="utf-8", errors="replace").strip() if text.is_file() else ""
        label = relative.parts[0] if len(relative.parts) > 1 else ""
        key = relative.with_suffix("").as_posix()
        found.append(Source(_clean(key), str(path), path.suffix.lower().lstrip("."), caption, _clean(label)))
    return found


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
        caption, label, group = (_clean(_first(row, columns[kind])) for kind in ("caption", "label", "group"))
        found.append(Source(_clean(key), str(image), extension, caption, label, group))
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


def _shards(given: str, columns: Columns) -> list[Source]:
    try:
        _, splits = find_dataset(given)
    except DataError as error:
        raise PackError(str(error)) from None
    has_card = given in list_datasets() or (Path(given) / CARD).is_file()
    groups = columns["group"] or (("group",) if has_card else ())
    names = {"caption": columns["caption"], "category": columns["label"], "group": groups}
    shards = [shard for paths in splits.values() for shard in paths]
    return [source for number, shard in enumerate(shards) for source in _members(number, shard, names)]


def _members(number: int, shard: Path, names: Mapping[str, tuple[str, ...]]) -> list[Source]:
    found = []
    errors: list[DataError] = []
    for member in index_shard(shard, errors.append, names):
        if member.content is not None:
            raise PackError(f"{shard}: compressed shards cannot be packed again; decompress them first")
        key, _, extension = member.name.rpartition(".")
        group = _clean(member.group) if member.group != member.key else ""
        facts = (member.caption, member.category, group, member.offset, member.size)
        found.append(Source(_clean(f"{number:05d}/{key}"), str(shard), extension.lower(), *facts))
    # The dot keeps these keys apart from those of members.
    return found + [
        Source(f"{number:05d}/.{place}", str(shard), "", problem=str(error)) for place, error in enumerate(errors)
    ]


def _first(row: Row, columns: tuple[str, ...]) -> str:
    """Return the first text in some columns that is not empty."""
    return next((text.strip() for column in columns if (text := row.get(column))), "")


def _clean(text: str) -> str:
    """Return a text without lone surrogates (from file names that are not UTF-8), which JSON and YAML cannot hold."""
    return text.encode("utf-8", "backslashreplace").decode()
