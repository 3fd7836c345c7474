"""Fields of a published config: whole numbers and lists of them, and the error that names a field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from specs.errors import closest

__all__ = ["PublishedConfigError", "integer", "integers", "shown"]

#: Most stages of a network.
MAX_STAGES = 16


class PublishedConfigError(ValueError):
    """A published config cannot be read, or describes a network that this zoo does not build."""


def _whole(item: Any) -> int:
    """Return a whole number, also one that is written as 64.0 or as text.

    Raises:
        TypeError, ValueError, OverflowError: It is none.
    """
    if isinstance(item, float) and item != int(item):
        raise ValueError("not a whole number")
    return int(item)


def shown(value: Any) -> str:
    """Return a value as text for messages."""
    return repr(value)[:80]


def integer(config: Mapping[str, Any], field: str) -> int:
    """Return a field that is a whole number.

    Raises:
        PublishedConfigError: It is none.
    """
    value = config.get(field)
    if not isinstance(value, int) or isinstance(value, bool):
        raise PublishedConfigError(f"{field}: expected a whole number, got {shown(value)}")
    return value


def integers(config: Mapping[str, Any], field: str, length: int | None = None) -> list[int]:
    """Return a list of whole numbers, in the config a list, the text ``1,2,3``, or one number for all stages.

    Args:
        config: Fields of a network.
        field: Name of the field.
        length: Number of stages; None for any.

    Raises:
        PublishedConfigError: The field is missing, malformed or of another length.
    """
    if field not in config:
        near = closest(field, map(str, config))
        hint = f"is it misspelled as {near[0]!r}?" if near else "is this a published network config?"
        raise PublishedConfigError(f"the field {field} is missing; {hint}")
    value = config[field]
    items = value.split(",") if isinstance(value, str) else [value] if isinstance(value, int) else value
    try:
        numbers = [_whole(item) for item in items]
    except (TypeError, ValueError, OverflowError):
        raise PublishedConfigError(f"{field}: expected whole numbers, got {shown(value)}") from None
    if len(numbers) > MAX_STAGES or not (numbers or field == "attention_levels"):
        raise PublishedConfigError(f"{field}: has {len(numbers)} numbers, not 1 to {MAX_STAGES}")
    if length is not None and len(numbers) == 1:
        numbers *= length
    if length is not None and len(numbers) != length:
        raise PublishedConfigError(f"{field}: has {len(numbers)} numbers for {length} stages")
    return numbers
