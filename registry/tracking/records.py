"""Records of a spool: their kinds, and the facts of each kind.

A spool may be damaged, of a newer version, or written by others: what is no record is skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["Record", "is_record"]

Record = Mapping[str, Any]


def is_record(found: object) -> bool:
    """Return whether a value has the facts of a record of its kind."""
    if not isinstance(found, dict) or not isinstance(found.get("kind"), str):
        return False
    required = _REQUIRED.get(found["kind"])
    if required is None or not required.keys() <= found.keys():
        return False
    return all(check(found[name]) for name, check in {**required, **_OPTIONAL}.items() if name in found)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_optional_text(value: object) -> bool:
    return value is None or isinstance(value, str)


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _is_texts(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(each, str) for each in value.values())


def _is_numbers(value: object) -> bool:
    return isinstance(value, dict) and all(type(each) in (int, float) for each in value.values())


def _is_counts(value: object) -> bool:
    """Return whether a value has a number, a first and a last step for each name."""
    return isinstance(value, dict) and all(
        isinstance(each, list) and len(each) == 3 and all(type(number) is int for number in each)
        for each in value.values()
    )


def _is_experiment(value: object) -> bool:
    if not isinstance(value, dict) or not set(value) <= {"name", "identity"}:
        return False
    return all(map(_is_optional_text, value.values())) and any(value.values())


Checks = Mapping[str, Callable[[object], bool]]
#: Facts of all records of a kind.
_REQUIRED: Mapping[str, Checks] = {
    "run": {"key": _is_text, "identity": _is_text},
    "params": {"values": _is_texts},
    "tags": {"values": _is_texts},
    "metrics": {"values": _is_numbers, "step": _is_count, "time": _is_count},
    "non_finite": {"counts": _is_counts},
    "artifact": {"path": _is_text, "folder": _is_text},
    "text": {"name": _is_text, "text": _is_text},
    "status": {"key": _is_text, "status": _is_text, "time": _is_count},
}
#: Facts that a record may have.
_OPTIONAL: Checks = {
    "name": _is_text,
    "time": _is_count,
    "tags": _is_texts,
    "entry_hash": _is_text,
    "parent": _is_optional_text,
    "uri": _is_optional_text,
    "place": _is_optional_text,
    "experiment": _is_experiment,
    "best": _is_text,
}
