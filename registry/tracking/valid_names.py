"""Keys and values that MLflow accepts, made of names that users choose, such as those of phases and datasets."""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Iterable

from builders.file_names import file_name

__all__ = ["phase_key", "valid_key", "valid_text"]

#: Characters that MLflow accepts in a key, beside letters and digits. A colon is not allowed on Windows.
_INVALID = re.compile(r"[^\w.\- /]")
#: Longest key is 250; a changed one ends with a hash.
MAX_KEY = 240
#: Longest value of a param. That of a tag is 8000.
MAX_TEXT = 6000


def valid_key(name: str) -> str:
    """Return a name as a key of a param, tag or metric; different names have different keys.

    Characters that MLflow does not accept become ``_``, and a name that was changed ends with a hash.
    """
    path = posixpath.normpath(_INVALID.sub("_", valid_text(name))).lstrip("/")
    if path.startswith("..") or path == ".":
        path = "_" + path
    if path == name and len(name) <= MAX_KEY:
        return name
    return f"{path[:MAX_KEY]}-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def valid_text(text: str, limit: int = MAX_TEXT) -> str:
    """Return a value that databases accept: without NUL and bytes that are no text.

    Args:
        text: Text to log.
        limit: Largest number of characters. A longer text is cut and ends with ``...``.
    """
    text = text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def phase_key(name: str, phases: Iterable[str]) -> str:
    """Return what the keys of the tags of a phase begin with; ``phases`` are the names of all phases."""
    return f"phase/{valid_key(file_name(name, phases).replace('~', '_'))}"
