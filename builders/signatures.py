"""Kinds of files by their first bytes. Imports no torch."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Kind", "kind_by_signature"]


class Kind(NamedTuple):
    """What a file is, and what to do with it; ``advice`` is empty if that depends on what was expected."""

    name: str
    advice: str = ""


_IMAGE = Kind("an image")
_PAGE = Kind("a web page, not the file itself", "download it again, perhaps after logging in")
_SIGNATURES = (
    (
        b"version https://git-lfs",
        Kind("a pointer of Git LFS, not the file itself", "fetch the file with 'git lfs pull'"),
    ),
    (b"<!doctype html", _PAGE),
    (b"<html", _PAGE),
    (b"<head", _PAGE),
    (b"<script", _PAGE),
    (b"<?xml", Kind("a web page or XML file, perhaps of an error", _PAGE.advice)),
    (b"\x1f\x8b", Kind("a file compressed by gzip", "decompress it")),
    (b"\x28\xb5\x2f\xfd", Kind("a file compressed by Zstandard", "decompress it")),
    (b"\xfd7zXZ", Kind("a file compressed by xz", "decompress it")),
    (b"BZh", Kind("a file compressed by bzip2", "decompress it")),
    (b"7z\xbc\xaf", Kind("a 7z archive", "unpack it")),
    (b"Rar!", Kind("a RAR archive", "unpack it")),
    (b"\x93NUMPY", Kind("a NumPy array (.npy)")),
    (b"\x89HDF", Kind("an HDF5 file")),
    (b"GGUF", Kind("a GGUF file")),
    (b"ARROW1", Kind("an Arrow file")),
    (b"SQLite format 3", Kind("an SQLite database")),
    (b"\x89PNG", _IMAGE),
    (b"\xff\xd8\xff", _IMAGE),
    (b"GIF8", _IMAGE),
)


def kind_by_signature(start: bytes) -> Kind | None:
    """Return the kind of a file by its first bytes, or None if they are no known signature.

    Spaces before the text of a web page are ignored.
    """
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for mark, kind in _SIGNATURES:
        if start.startswith(mark) or (mark.startswith(b"<") and text.startswith(mark)):
            return kind
    return None
