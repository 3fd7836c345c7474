"""JSON and JSON Lines files that list images, in the forms that datasets use."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from builders.data.errors import PackError
from builders.data.recognition.split_folders import split_of
from builders.data.tables.table import Row, Table, looks_like_file
from specs.errors import quote

__all__ = ["FORMS", "json_lines_table", "json_table", "scalar_text"]

#: Forms of JSON that are read, for messages.
FORMS = (
    "a list of records, a mapping of paths to captions or records, COCO's images and annotations, or labels as in "
    "StyleGAN's dataset.json"
)
#: Keys under which a list of records may be.
_WRAPPERS = ("data", "rows", "samples", "records", "items", "images", "annotations")


def scalar_text(value: object) -> str | None:
    """Return a value as text: "" if it is missing (null or NaN), None for lists and mappings."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return str(value) if isinstance(value, (str, int, float)) else None


def json_lines_table(path: str, text: str) -> Table:
    """Return the table in JSON Lines: one mapping per line. Lines that are none have a problem."""
    if text.lstrip()[:1] == "[":
        return json_table(path, text)
    rows: list[Row] = []
    # splitlines() would also split at line separators of Unicode, which captions may contain.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        rows.append(_line(number, line))
    return _table(path, rows, "line")


def _line(number: int, line: str) -> Row:
    try:
        record = json.loads(line, object_pairs_hook=_unique)
    except _Twice as error:
        return Row(number, {}, f"the key {quote(error.args[0])} is given twice")
    except (ValueError, RecursionError):
        return Row(number, {}, "not JSON")
    return _row(number, record) if isinstance(record, dict) else Row(number, {}, "not a mapping")


def json_table(path: str, text: str) -> Table:
    """Return the table in a JSON file; ``FORMS`` lists the forms that are read.

    Raises:
        PackError: The file is not JSON or has another form.
    """
    try:
        content = json.loads(text, object_pairs_hook=_unique)
    except _Twice as error:
        raise PackError(f"{path}: the key {quote(error.args[0])} is given twice") from None
    except json.JSONDecodeError as error:
        if error.msg == "Extra data" and text.lstrip()[:1] == "{":
            return json_lines_table(path, text)  # JSON Lines under another name
        raise PackError(f"{path}: not JSON" + (f" (line {error.lineno})" if "\n" in text else "")) from None
    except (ValueError, RecursionError):
        raise PackError(f"{path}: not JSON") from None
    if isinstance(content, dict):
        return _mapping(path, content)
    if isinstance(content, list):
        return _list(path, content)
    raise PackError(f"{path}: this JSON is not a list of images; {FORMS} are read")


def _list(path: str, content: Sequence[Any]) -> Table:
    if all(isinstance(item, str) for item in content):
        content = [{"path": item} for item in content]
    odd = next((number for number, item in enumerate(content, 1) if not isinstance(item, dict)), None)
    if odd is not None:
        raise PackError(f"{path}, record {odd}: not a mapping such as {{'path': ..., 'caption': ...}}")
    return _table(path, [_row(number, item) for number, item in enumerate(content, 1)], "record")


def _mapping(path: str, content: Mapping[str, Any]) -> Table:
    if isinstance(content.get("images"), list) and isinstance(content.get("annotations"), list):
        return _coco(path, content)
    if "labels" in content and len(content) == 1:
        return labels_table(path, content)
    if content and all(split_of(name) and _is_records(value) for name, value in content.items()):
        return _list(path, [{"split": name, **record} for name, value in content.items() for record in value])
    values = list(content.values())
    for name in _WRAPPERS:
        if _is_records(content.get(name)):
            return _list(path, content[name])
    if values and all(looks_like_file(name) for name in content):
        return _by_path(path, content)
    if values and all(isinstance(value, list) for value in values) and len({len(value) for value in values}) == 1:
        columns = zip(*values, strict=True)
        return _list(path, [dict(zip(content, row, strict=True)) for row in columns])
    raise PackError(f"{path}: this JSON has the keys {', '.join(map(quote, list(content)[:8]))}; {FORMS} are read")


def _is_records(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _by_path(path: str, content: Mapping[str, Any]) -> Table:
    rows = []
    for number, (name, value) in enumerate(content.items(), 1):
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        if isinstance(value, (int, float)):
            value = {"label": value}
        record = value if isinstance(value, dict) else {"caption": value}
        rows.append(_row(number, {**record, "path": name}))
    return _table(path, rows, "record")


def labels_table(path: str, content: Mapping[str, Any]) -> Table:
    """Return the labels of StyleGAN's ``dataset.json``, ``{"labels": [[NAME, LABEL], ...]}``; null has no rows.

    Raises:
        PackError: They have another form.
    """
    labels = content.get("labels")
    pairs = list(labels.items()) if isinstance(labels, dict) else labels or []
    if not isinstance(pairs, list):
        raise PackError(f"{path}: 'labels' is not a list of [NAME, LABEL]")
    rows = []
    for number, pair in enumerate(pairs, 1):
        if not isinstance(pair, (list, tuple)) or len(pair) != 2 or not isinstance(pair[0], str):
            raise PackError(f"{path}, label {number}: not a pair [NAME, LABEL]")
        rows.append(_row(number, {"path": pair[0], "label": pair[1]}))
    return _table(path, rows, "label")


def _coco(path: str, content: Mapping[str, Any]) -> Table:
    """Return the images of COCO's annotations, with their first caption, or their category if all objects have one."""
    categories = content.get("categories") or ()
    if not isinstance(categories, (list, tuple)) or not all(_has_id(item) for item in categories):
        raise PackError(f"{path}: categories must be a list of mappings with an id")
    names = {item["id"]: item.get("name") for item in categories}
    captions: dict[Any, list[str]] = {}
    labels: dict[Any, set[str]] = {}
    for item in content["annotations"]:
        image = item.get("image_id") if isinstance(item, dict) else None
        if not isinstance(image, (str, int)):
            raise PackError(f"{path}: an annotation has no image_id")
        if isinstance(caption := item.get("caption"), str) and caption.strip():
            captions.setdefault(image, []).append(caption)
        category = item.get("category_id")
        if isinstance(category, (str, int)):
            labels.setdefault(image, set()).add(str(names.get(category, category)))
    rows = []
    for number, image in enumerate(content["images"], 1):
        if not _has_id(image):
            raise PackError(f"{path}, image {number}: no id")
        found = {"path": image.get("file_name"), "caption": next(iter(captions.get(image["id"], ())), "")}
        found["label"] = next(iter(labels.get(image["id"], ()))) if len(labels.get(image["id"], ())) == 1 else ""
        rows.append(_row(number, found))
    more = sum(len(each) - 1 for each in captions.values())
    mixed = sum(len(each) > 1 for each in labels.values())
    notes = [f"{path}: {more:,} further captions are not used; an image has one caption, the first"] * bool(more)
    notes += [f"{path}: {mixed:,} images have objects of several categories, and no label"] * bool(mixed)
    return _table(path, rows, "image", notes)


def _has_id(item: object) -> bool:
    return isinstance(item, dict) and isinstance(item.get("id"), (str, int))


def _row(number: int, record: Mapping[str, Any]) -> Row:
    return Row(number, {name: scalar_text(value) for name, value in record.items()})


def _table(path: str, rows: Sequence[Row], unit: str, notes: Iterable[str] = ()) -> Table:
    columns = dict.fromkeys(name for row in rows for name in row.fields)
    return Table(path, tuple(columns), tuple(rows), unit, notes=tuple(notes))


class _Twice(Exception):
    """A mapping has a key twice."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise _Twice(next(name for number, name in enumerate(names) if name in names[:number]))
    return found
