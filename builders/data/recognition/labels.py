"""Labels and captions as texts, from the values that JSON and tables hold."""

from __future__ import annotations

import math
import re

from builders.data.errors import DataError

__all__ = ["label_text", "value_text", "whole_number"]

#: Largest float up to which every whole number is exact.
_EXACT = 2**53
_WHOLE = re.compile(r"([+-]?\d+)\.0*")


def value_text(value: object) -> str | None:
    """Return a value as text: "" if it is missing (null or NaN), None if it is a list or a mapping."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, str):
        # JSON can contain lone surrogates, which cannot be encoded as UTF-8.
        return value.encode("utf-8", "replace").decode()
    return str(value) if isinstance(value, (int, float)) else None


def label_text(value: object, where: str) -> str | None:
    """Return a label as the name of a class: whole numbers have no decimal point, so 3.0 is class 3.

    Args:
        value: Value in JSON.
        where: Sample or line, for messages.

    Returns:
        Name of the class; "" if the label is missing, None if it is a list or a mapping.

    Raises:
        DataError: The number is infinite, or too large to be exact.
    """
    if isinstance(value, float) and not math.isnan(value):
        if abs(value) > _EXACT:  # also infinity
            raise DataError(f"{where}: label {value} is no name of a class; write large numbers without a point")
        if value.is_integer():
            return str(int(value))
    return value_text(value)


def whole_number(text: str) -> str:
    """Return a text without the decimals of a whole number: "3.0", as pandas writes 3 beside gaps, is "3"."""
    found = _WHOLE.fullmatch(text.strip())
    return found.group(1) if found else text.strip()
