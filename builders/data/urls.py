"""Where shards are: paths, brace ranges such as ``set-{000..012}.tar``, and addresses that fsspec reads.

A shard at an address is copied to the cache folder once, because random access and resuming need local files.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from braceexpand import braceexpand

from builders.data.errors import DataError
from builders.files import cache_folder, replacing

__all__ = ["expand_braces", "is_address", "local_shard"]

#: Schemes that are read. Others, such as ``pipe:``, may run programs.
SCHEMES = tuple("http https s3 gs gcs az abfs hf ftp sftp file memory github hdfs".split())
#: Largest number of shards in a brace range.
MAX_SHARDS = 1_000_000
_INNERMOST = re.compile(r"\{([^{}]*)\}")
#: Bounds of a range of numbers; its step, if there is one, is not counted.
_RANGE = re.compile(r"(-?\d+)\.\.(-?\d+)(?:\.\.-?\d+)?")
#: Largest number of letters in a range such as ``{a..z}``.
LETTERS = 52


def is_address(text: str) -> bool:
    """Return whether a text is an address (``https://...``) and not a path."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*:(//|[^\\/]*$)", text) is not None and not Path(text).exists()


def expand_braces(text: str) -> tuple[str, ...]:
    """Return all texts that ranges ``{00..12}`` and lists ``{a,b}`` stand for, as in bash.

    Raises:
        DataError: A range runs backwards, or there are more than a million texts.
    """
    _check_count(text)
    try:
        return tuple(braceexpand(text, escape=False))
    except (ValueError, RecursionError):  # unbalanced or nested too deeply
        return (text,)


def _check_count(pattern: str) -> None:
    """Check that a pattern does not stand for too many texts, without expanding it.

    The product over all pairs of braces is an upper bound: nested lists add up and do not multiply.
    """
    count, rest = 1, pattern
    while (found := _INNERMOST.search(rest)) is not None:
        inner = found.group(1)
        bounds = _RANGE.fullmatch(inner)
        if bounds is not None and max(map(len, bounds.groups())) > 18:
            count = MAX_SHARDS + 1
        elif bounds is not None:
            first, last = map(int, bounds.groups())
            if first > last:
                raise DataError(f"{pattern}: the range {found.group()} runs backwards")
            count *= last - first + 1
        else:
            count *= LETTERS if ".." in inner else inner.count(",") + 1
        if count > MAX_SHARDS:
            raise DataError(f"{pattern}: more than {MAX_SHARDS:,} shards")
        rest = rest[: found.start()] + rest[found.end() :]


def local_shard(address: str) -> Path:
    """Return a local copy of a shard at an address, which is downloaded at first.

    Raises:
        DataError: The scheme is not supported, a package is missing, or the file cannot be downloaded.
    """
    scheme = address.partition(":")[0].lower()
    if scheme not in SCHEMES or "::" in address:
        raise DataError(f"{address}: addresses of this kind are not read; those are: {', '.join(SCHEMES)}")
    # Without a signature, and not longer than names of files may be.
    name = address.partition("?")[0].rstrip("/").rpartition("/")[2][-100:]
    path = cache_folder() / "shards" / f"{hashlib.sha256(address.encode()).hexdigest()[:16]}-{name}"
    if path.is_file():
        return path
    import fsspec

    try:
        with replacing(path) as temporary:
            # In one request: not every server supports ranges.
            system, place = fsspec.core.url_to_fs(address)
            system.get_file(place, str(temporary))
    except Exception as error:  # whatever a file system of fsspec raises
        if isinstance(error, ImportError):
            raise DataError(f"{address}: {str(error).rstrip('.')}") from None
        reason = str(error.__cause__ or error).strip().partition("\n")[0]
        if not reason or reason == address:  # fsspec may only repeat the address
            reason = f"not found, or no connection ({type(error).__name__})"
        raise DataError(f"{address}: cannot be fetched: {reason}") from None
    return path
