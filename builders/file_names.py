"""File names of names that users choose: phases, entries, classes, columns.

A name that is an ordinary file name on every system is its own file name. Every other byte that might leave the folder,
hide the file or be refused is written as ``~`` and two hexadecimal digits: ``a/b`` becomes ``a~2Fb``.
"""

from __future__ import annotations

import hashlib
import re
import sys
import unicodedata
from collections.abc import Iterable

__all__ = ["file_name", "original_name"]

#: Length of the result in bytes. File systems have 255, and callers add prefixes, steps and suffixes.
MOST_BYTES = 120
#: Characters that Windows, shells or addresses give a meaning to, and the mark of escapes.
_SPECIAL = frozenset('<>:"/\\|?*#%~')
#: Names of devices on Windows, with any suffix.
_DEVICE = re.compile(r"(?:con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])(?=$|[ .])", re.IGNORECASE)
_ESCAPE = re.compile(r"~([0-9A-F]{2})")


def file_name(name: str, among: Iterable[str] = ()) -> str:
    """Return a file name for a name; different names have different file names.

    Args:
        name: Any text.
        among: Names that have files in the same folder. Of those that differ only in case, or in how Unicode writes
            the same letters, all but the first get the hash of their name as a suffix: some file systems take them for
            one.
    """
    escaped = _escaped(name)
    key = _folded(escaped)
    first = next((other for other in among if _folded(_escaped(other)) == key), name)
    if len(escaped.encode()) <= MOST_BYTES and first == name:
        return escaped
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    cut = re.sub(r"~[0-9A-F]?$", "", escaped.encode()[: MOST_BYTES - 14].decode(errors="ignore"))
    return f"{cut}~-{digest}"


def original_name(file: str) -> str | None:
    """Return the name that a result of :func:`file_name` stands for, or None if it was shortened or has a suffix."""
    if "~-" in file:
        return None
    if file == "~":
        return ""
    data = b"".join(
        bytes([int(part, 16)]) if index % 2 else part.encode() for index, part in enumerate(_ESCAPE.split(file))
    )
    return data.decode("utf-8", "surrogatepass")


def _escaped(name: str) -> str:
    """Return a name with everything escaped that a file name may not have. The empty name is ``~``."""
    device = _DEVICE.match(name) is not None
    last = len(name) - 1
    letters = [
        _escape(letter)
        if (index == 0 and (device or letter in ".- ")) or (index == last and letter in ". ") or not _is_plain(letter)
        else letter
        for index, letter in enumerate(name)
    ]
    return "".join(letters) or "~"


def _is_plain(letter: str) -> bool:
    """Return whether a character may be in a file name: not a special, control or unassigned one, nor a separator."""
    if letter == " ":
        return True
    return not (letter in _SPECIAL or unicodedata.category(letter)[0] in "CZ") and _has_letter(letter)


def _has_letter(letter: str) -> bool:
    """Return whether the encoding of file names has a character; that of an old locale may be ASCII."""
    try:
        letter.encode(sys.getfilesystemencoding())
    except UnicodeEncodeError:
        return False
    return True


def _escape(letter: str) -> str:
    return "".join(f"~{byte:02X}" for byte in letter.encode("utf-8", "surrogatepass"))


def _folded(name: str) -> str:
    """Return a key that is equal for names which a file system may take for one."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFKC", name).casefold())
