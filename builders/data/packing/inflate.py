"""Decompression of members of zip files."""

from __future__ import annotations

import zlib

from builders.data.errors import DataError
from builders.data.shards import MAX_MEMBER

__all__ = ["inflate"]


def inflate(content: bytes, name: str) -> bytes:
    """Decompress a member.

    Raises:
        DataError: It is damaged or too large.
    """
    decompressor = zlib.decompressobj(-15)
    try:
        found = decompressor.decompress(content, MAX_MEMBER + 1)
    except zlib.error as error:
        raise DataError(f"{name}: damaged: {error}") from None
    if len(found) > MAX_MEMBER:
        raise DataError(f"{name}: more than {MAX_MEMBER:,} bytes when decompressed")
    if not decompressor.eof:
        raise DataError(f"{name}: cut off")
    return found
