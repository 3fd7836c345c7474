"""Plain scalars of YAML: texts, numbers, truth values and null."""

from __future__ import annotations

import re

from specs.errors import fail, quote

__all__ = ["core_scalar", "is_not_text"]

_MAX_DIGITS = 18
_NULL = re.compile(r"~|null|Null|NULL|")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


def is_not_text(value: str) -> bool:
    """Return whether a plain scalar is no text: null, a truth value or a number."""
    return any(pattern.fullmatch(value) for pattern in (_NULL, _BOOL, _INT, _FLOAT))


def core_scalar(text: str) -> str | int | float | bool | None:
    """Return the value of a plain scalar in the core schema of YAML 1.2.

    Raises:
        SpecError: The scalar is ``None``, or a number that is infinite, NaN or longer than 18 digits.
    """
    if _NULL.fullmatch(text):
        return None
    if _BOOL.fullmatch(text):
        return text[0] in "tT"
    if _INT.fullmatch(text):
        if len(text.lstrip("-+0ox")) > _MAX_DIGITS:
            raise fail("bad-number", f"the number has more than {_MAX_DIGITS} digits")
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
    if _FLOAT.fullmatch(text):
        number = float(text)
        if number in (float("inf"), float("-inf")):
            raise fail("bad-number", f"{quote(text)[1:-1]} is too large for a number")
        return number
    if _NOT_FINITE.fullmatch(text):
        raise fail("bad-number", f"{text} is not allowed; numbers must be finite")
    if text == "None":
        raise fail("null", "None is not a YAML value; write null, or 'None' in quotes for text")
    return text
