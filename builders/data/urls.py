"""Where shards are: paths, brace ranges such as ``set-{000..012}.tar``, and addresses that fsspec reads.

Shards at an address are copied once to the cache folder, whole or not at all: reading by position, and going on in the
middle, need local files.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from builders.data.errors import DataError
from builders.files import cache_folder, replacing

__all__ = ["expand_braces", "is_address", "local_shard"]

#: Schemes that are read. Others, such as ``pipe:``, may run programs.
SCHEMES = (
    "http", "https", "s3", "gs", "gcs", "az", "abfs", "hf", "ftp", "sftp", "file", "memory", "github", "hdfs",
)  # fmt: skip
#: A brace range names at most so many shards.
MAX_SHARDS = 1_000_000
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_LIST = re.compile(r"\{([^{}]*,[^{}]*)\}")


def is_address(text: str) -> bool:
    """Whether a text is an address (``https://...``) rather than a path."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*:(//|[^\\/]*$)", text) is not None and not Path(text).exists()


def expand_braces(text: str) -> tuple[str, ...]:
    """All texts that ranges ``{00..12}`` and lists ``{a,b}`` stand for, leading zeros kept, in order.

    Raises:
        DataError: a range runs backwards, or they are too many.
    """
    found = min((m for m in (_RANGE.search(text), _LIST.search(text)) if m), key=lambda m: m.start(), default=None)
    if found is None:
        return (text,)
    if found.re is _RANGE:
        first, last = found.groups()
        if int(first) > int(last):
            raise DataError(f"{text}: the range {found.group()} runs backwards")
        if int(last) - int(first) >= MAX_SHARDS:
            raise DataError(f"{text}: more than {MAX_SHARDS:,} shards")
        width = len(first) if len(first) == len(last) or first.startswith("0") else 0
        choices = [str(number).zfill(width) for number in range(int(first), int(last) + 1)]
    else:
        choices = found.group(1).split(",")
    before, after = text[: found.start()], text[found.end() :]
    expanded = tuple(name for choice in choices for name in expand_braces(before + choice + after))
    if len(expanded) > MAX_SHARDS:
        raise DataError(f"{text}: more than {MAX_SHARDS:,} shards")
    return expanded


def local_shard(address: str) -> Path:
    """A local copy of a shard at an address, made if there is none.

    Raises:
        DataError: a scheme that is not read, a package that is missing, or a file that cannot be fetched.
    """
    scheme = address.partition(":")[0].lower()
    if scheme not in SCHEMES or "::" in address:
        raise DataError(f"{address}: addresses of this kind are not read; those are: {', '.join(SCHEMES)}")
    # Without a signature, and not longer than names of files may be.
    name = address.partition("?")[0].rstrip("/").rpartition("/")[2][-100:]
    path = cache_folder() / "shards" / f"{hashlib.sha256(address.encode()).hexdigest()[:16]}-{name}"
    if path.is_file():
        return path
    try:
        import fsspec
    except ImportError:
        raise DataError(f"{address}: reading addresses needs a package: pip install fsspec") from None
    try:
        with replacing(path) as temporary:
            # Whole, not by parts: not every server gives parts of a file.
            system, place = fsspec.core.url_to_fs(address)
            system.get_file(place, str(temporary))
    except Exception as error:  # whatever a file system of fsspec raises
        if isinstance(error, ImportError):
            raise DataError(f"{address}: {str(error).rstrip('.')}") from None
        reason = str(error.__cause__ or error).strip().partition("\n")[0]
        if not reason or reason == address:  # fsspec may say no more than what was asked for
            reason = f"not there, or no connection ({type(error).__name__})"
        raise DataError(f"{address}: cannot be fetched: {reason}") from None
    return path
