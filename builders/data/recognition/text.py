"""Texts of unknown encoding: UTF-8, or UTF-16 and UTF-32 with a byte order mark."""

from __future__ import annotations

import codecs

from builders.data.errors import DataError

__all__ = ["decode_text"]

#: Byte order marks and their encodings. The mark of UTF-32 begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def decode_text(content: bytes, name: str) -> str:
    """Decode a text, without its byte order mark.

    Args:
        content: Bytes of the text.
        name: Name of the file or member in messages.

    Raises:
        DataError: The text is not UTF-8 and has no byte order mark, or contains NUL characters.
    """
    encoding = next((encoding for mark, encoding in _MARKS if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        what = encoding.removesuffix("-sig").upper()
        raise DataError(f"{name}: not {what} ({error.reason} at byte {error.start}); save it as UTF-8") from None
    if "\0" in text:
        raise DataError(f"{name}: contains NUL characters, as UTF-16 without a byte order mark does; save it as UTF-8")
    return text
