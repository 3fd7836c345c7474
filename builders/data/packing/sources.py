"""What can be packed: folders of images, CSV and JSONL files that name images, shards."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from builders.data.dataset_card import CARD, SHARDS
from builders.data.errors import DataError
from builders.data.shards import IMAGES
from specs.errors import did_you_mean

__all__ = ["PackError", "Source", "find_sources"]

#: What says of the images of a folder what they show, as in folders of samples and in Hugging Face's imagefolder.
TABLE = "metadata.jsonl"
PATHS = ("path", "image", "file", "file_name", "filename")
CAPTIONS = ("caption", "text", "prompt", "annotation")
LABELS = ("category", "label", "class", "cls")


class PackError(DataError):
    """A dataset cannot be packed; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Source:
    """An image to pack: a file, or a part of a shard, and what is known of it."""

    key: str
    path: str
    extension: str
    caption: str = ""
    category: str = ""
    #: Samples of one group stay on one side of the split.
    group: str = ""
    #: Where in the file it stands, for a member of a shard.
    offset: int = 0
    size: int | None = None
    #: Why it cannot be packed, where that is known.
    problem: str = ""

    @property
    def is_file(self) -> bool:
        """Whether it is a file of its own, not a part of a shard."""
        return self.size is None and not self.problem

    @property
    def origin(self) -> str:
        """What messages call it."""
        return self.path if self.size is None else f"{self.path}: {self.key}.{self.extension}"

    def read(self) -> bytes:
        """The image as it is stored.

        Raises:
            OSError, DataError: it cannot be read.
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
    """What a folder, a CSV or JSONL file, or shards hold.

    Args:
        path: a folder of images (a ``metadata.jsonl`` in it says what they show; else folders in it are labels, and
            ``NAME.txt`` beside an image its caption), a ``.csv``, ``.tsv`` or ``.jsonl`` file, or a shard or brace
            range of shards.
        caption: column or JSON key of captions; by default the first of caption, text, prompt, annotation.
        label: column or JSON key of labels; by default the first of category, label, class, cls.
        group: column or JSON key of near-duplicates, which stay on one side of the split; by default "group" in what
            was packed here, and none elsewhere.
        image: column or key of image paths, which are relative to the file.

    Raises:
        PackError: there is no such thing, nothing in it, or nothing has what was named.
    """
    found = _find(path, caption, label, group, image)
    for option, name, kind in (
        ("--caption", caption, "caption"),
        ("--label", label, "category"),
        ("--group", group, "group"),
    ):
        if name is not None and found and not any(getattr(source, kind) for source in found):
            raise PackError(f"{path}: no image has a {name!r}, which {option} names")
    return found


def _find(
    path: str | Path, caption: str | None, label: str | None, group: str | None, image: str | None
) -> list[Source]:
    keys = {
        "caption": (caption,) if caption else CAPTIONS,
        "label": (label,) if label else LABELS,
        "group": (group,) if group else (),
    }
    # An address is no path.
    given, path = str(path), Path(path)
    if path.is_dir() and (path / TABLE).is_file():
        return _table(path / TABLE, keys, (image,) if image else PATHS)
    if path.is_dir() and not any(child.name.endswith((*SHARDS, CARD)) for child in path.iterdir()):
        return _folder(path)
    if path.suffix.lower() in (".csv", ".tsv", ".jsonl", ".ndjson"):
        return _table(path, keys, (image,) if image else PATHS)
    return _shards(given, keys)


def _folder(folder: Path) -> list[Source]:
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


def _table(path: Path, keys: Mapping[str, tuple[str, ...]], images: tuple[str, ...]) -> list[Source]:
    if not path.is_file():
        raise PackError(f"{path}: no such file")
    rows = _json_lines(path) if path.suffix.lower() in (".jsonl", ".ndjson") else _csv_rows(path)
    _check_columns(path, rows, keys)
    found = []
    for number, row in rows:
        name = next((row[key] for key in images if row.get(key)), None)
        if name is None:
            raise PackError(f"{path}, line {number}: no path of an image; looked for {', '.join(images)}")
        image = path.parent / name
        extension = image.suffix.lower().lstrip(".")
        if extension not in IMAGES:
            raise PackError(f"{path}, line {number}: {name!r} is no {', '.join(IMAGES)} file")
        key = Path(name).with_suffix("").as_posix().lstrip("./") or str(number)
        if ".." in Path(key).parts:
            key = f"{number:08d}"
        caption, label = _clean(_first(row, keys["caption"])), _clean(_first(row, keys["label"]))
        group = _clean(_first(row, keys["group"]))
        found.append(Source(_clean(key), str(image), extension, caption, label, group))
    return found


def _check_columns(
    path: Path, rows: Sequence[tuple[int, Mapping[str, str | None]]], keys: Mapping[str, tuple[str, ...]]
) -> None:
    """Raise if a column that was named is not there, or holds something else than a text."""
    columns = list(dict.fromkeys(column for _, row in rows for column in row))
    for kind, names in keys.items():
        if len(names) == 1 and rows and names[0] not in columns:
            raise PackError(
                f"{path}: no {kind} column {names[0]!r}{did_you_mean(names[0], columns)}; it has {', '.join(columns)}"
            )
    for number, row in rows:
        for kind, names in keys.items():
            odd = next((name for name in names if name in row and row[name] is None), None)
            # What is called a label by others, and is a list, may be left out; a caption is what there is to learn.
            if odd is not None and not _first(row, names) and (kind == "caption" or len(names) == 1):
                raise PackError(f"{path}, line {number}: {odd!r} is a list or a mapping; a {kind} is one text")


def _csv_rows(path: Path) -> list[tuple[int, dict[str, str | None]]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
            return [(reader.line_num, {k: v or "" for k, v in row.items() if k}) for row in reader]
    except UnicodeDecodeError as error:
        raise PackError(f"{path}: not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8") from None
    except csv.Error as error:
        raise PackError(f"{path}: not a CSV file: {error}") from None


def _json_lines(path: Path) -> list[tuple[int, dict[str, str | None]]]:
    """Rows of texts; None for what is none."""
    rows: list[tuple[int, dict[str, str | None]]] = []
    # Not splitlines(): captions may hold what Unicode calls ends of lines.
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


def _shards(given: str, keys: Mapping[str, tuple[str, ...]]) -> list[Source]:
    from builders.data.dataset_card import find_dataset, list_datasets

    try:
        _, splits = find_dataset(given)
    except DataError as error:
        raise PackError(str(error)) from None
    ours = given in list_datasets() or (Path(given) / CARD).is_file()
    groups = keys["group"] or (("group",) if ours else ())
    names = {"caption": keys["caption"], "category": keys["label"], "group": groups}
    shards = [shard for paths in splits.values() for shard in paths]
    return [source for number, shard in enumerate(shards) for source in _members(number, shard, names)]


def _members(number: int, shard: Path, names: Mapping[str, tuple[str, ...]]) -> list[Source]:
    from builders.data.shard_index import index_shard

    found = []
    problems: list[DataError] = []
    for member in index_shard(shard, problems.append, names):
        if member.content is not None:
            raise PackError(f"{shard}: compressed shards cannot be packed again; unpack them first")
        key, _, extension = member.name.rpartition(".")
        facts = (member.caption, member.category, _clean(member.group) if member.group != member.key else "")
        place = (member.offset, member.size)
        found.append(Source(_clean(f"{number:05d}/{key}"), str(shard), extension.lower(), *facts, *place))
    # No key of a member is like these.
    return found + [
        Source(f"{number:05d}/.{place}", str(shard), "", problem=str(error)) for place, error in enumerate(problems)
    ]


def _first(row: Mapping[str, str | None], keys: tuple[str, ...]) -> str:
    return next((text.strip() for key in keys if (text := row.get(key))), "")


def _clean(text: str) -> str:
    """Without halves of characters, as in names of files that are not UTF-8: no JSON or YAML file holds them."""
    return text.encode("utf-8", "backslashreplace").decode()
