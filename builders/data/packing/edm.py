"""``dataset.json`` of StyleGAN and EDM: a label for each image."""

from __future__ import annotations

import json

from builders.data.packing.source import PackError
from builders.data.recognition.labels import label_text

__all__ = ["EDM", "edm_labels"]

#: Name of the file.
EDM = "dataset.json"


def edm_labels(content: bytes, name: str) -> dict[str, str] | None:
    """Return the labels of a ``dataset.json`` by path of the image; empty if it says that there are none.

    Args:
        content: Bytes of the file.
        name: Path of the file in messages.

    Returns:
        None if the file has another content.

    Raises:
        PackError: Its list of labels is malformed.
    """
    try:
        facts = json.loads(content)
    except (ValueError, RecursionError):
        raise PackError(f"{name}: not JSON") from None
    if not isinstance(facts, dict) or "labels" not in facts:
        return None
    entries = facts["labels"] or []
    pairs = entries.items() if isinstance(entries, dict) else entries
    if not isinstance(entries, (dict, list)):
        raise PackError(f"{name}: labels must be a list of [path, label]")
    return dict(_pair(entry, name, number) for number, entry in enumerate(pairs, 1))


def _pair(entry: object, name: str, number: int) -> tuple[str, str]:
    where = f"{name}, label {number}"
    if not isinstance(entry, (list, tuple)) or len(entry) != 2 or not isinstance(entry[0], str):
        raise PackError(f"{where}: not a pair [path, label]")
    label = label_text(entry[1], where)
    if label is None:
        raise PackError(f"{where}: the label of {entry[0]} is a list or a mapping; classes are whole numbers or names")
    return entry[0].replace("\\", "/"), label
