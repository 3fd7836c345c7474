"""Texts of others, such as names and captions, as a terminal may show them."""

from __future__ import annotations

import json

__all__ = ["printable"]


def printable(text: str, keep: str = "") -> str:
    """Return a text with its control characters escaped, as ``\\x1b``: no escape sequences, line breaks or bidi marks.

    Args:
        text: Any text, also with lone surrogates.
        keep: Control characters that are not escaped, such as a line break.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in keep else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    if char in "\u00a0\u3000\u2009\u202f":  # wide and narrow spaces are harmless
        return " "
    # From 0x80 on as in JSON, so that JSON remains JSON.
    return json.dumps(char)[1:-1] if char >= "\x80" else char.encode("unicode_escape").decode()
