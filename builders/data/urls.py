"""Where shards are: paths, brace ranges such as ``set-{000..012}.tar``, and addresses that fsspec reads.

A shard at an address is copied to the cache folder once, because random access and resuming need local files.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import re
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from braceexpand import braceexpand

from builders.data.errors import DataError
from builders.download import DownloadError, download, explained
from builders.files import cache_folder, replacing
from specs.addresses import shown_address

__all__ = ["expand_braces", "is_address", "local_shard"]

#: Schemes that are read. Others, such as ``pipe:``, may run programs.
SCHEMES = tuple("http https s3 gs gcs az abfs hf ftp sftp file memory github hdfs".split())
#: Largest number of shards in a brace range.
MAX_SHARDS = 1_000_000
_INNERMOST = re.compile(r"\{([^{}]*)\}")
#: Bounds of a range of numbers; its step, if there is one, is not counted.
_RANGE = re.compile(r"(-?\d+)\.\.(-?\d+)(?:\.\.-?\d+)?")
#: Parts of a query that sign it, and do not say what is read.
_SIGNATURE = re.compile(
    r"(x-(amz|goog|oss|ms)-|awsaccesskeyid|googleaccessid|key-pair-id|policy=|expires?=|s[evprtks]=|spr=|sk[a-z]+="
    r"|[^=]*(signature|sig|token|secret|password|passwd|credential|api_?key|auth)[^=]*=)",
    re.IGNORECASE,
)
#: Schemes whose paths may be relative to a user's folder.
_HOME = re.compile("s?ftp:|hdfs:", re.IGNORECASE)
_COMPRESSED: dict[bytes, Callable[..., Any]] = {b"\x1f\x8b": gzip.open, b"\xfd7zXZ\x00": lzma.open, b"BZh": bz2.open}
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
                raise DataError(f"{shown_address(pattern)}: the range {found.group()} runs backwards")
            count *= last - first + 1
        else:
            count *= LETTERS if ".." in inner else inner.count(",") + 1
        if count > MAX_SHARDS:
            raise DataError(f"{shown_address(pattern)}: more than {MAX_SHARDS:,} shards")
        rest = rest[: found.start()] + rest[found.end() :]


def local_shard(address: str, *, fetch: bool = True) -> Path:
    """Return a local copy of a shard at an address, which is downloaded at first.

    Args:
        address: Address of a shard. User, password and signature are neither saved nor shown.
        fetch: Whether it may be downloaded.

    Raises:
        DataError: The scheme is not supported, a package is missing, the file cannot be downloaded or is not a tar
            file; or it is not in the cache and may not be downloaded.
    """
    shown, scheme = shown_address(address), address.partition(":")[0].lower()
    if scheme not in SCHEMES or "::" in address:
        raise DataError(f"{shown}: addresses of this kind are not read; those are: {', '.join(SCHEMES)}")
    path = next((path for path in _cached(address, shown) if path.is_file()), _cached(address, shown)[0])
    if path.is_file():
        return path
    if not fetch:
        raise DataError(f"{shown}: not in the cache")
    try:
        if scheme in ("http", "https"):
            download(address, path, _check_content, name=path.name.partition("-")[2])
        else:
            _fetch(address, path)
    except DataError as error:
        raise DataError(f"{shown}: {error}") from None
    except (DownloadError, OSError) as error:
        reason = explained(error, address) if isinstance(error, OSError) else error
        raise DataError(f"{shown}: cannot be fetched: {reason}") from None
    return path


def _cached(address: str, shown: str) -> tuple[Path, Path]:
    """Return the path of the local copy, and its path by version 0.1."""
    # Not longer than names of files may be.
    name = shown.partition("?")[0].rstrip("/").rpartition("/")[2][-100:]
    rest = "&".join(
        part for part in address.partition("?")[2].partition("#")[0].split("&") if not _SIGNATURE.match(part)
    )
    user = address.partition("://")[2].partition("@")[0].partition(":")[0] if _HOME.match(address) else ""
    # Not of the signature, so that a shard is not downloaded again when it has a new one.
    identity = shown + (f"?{rest}" if rest and "?" not in shown else "") + (f"#{user}" if user else "")
    folder = cache_folder() / "shards"
    digests = (hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16] for text in (identity, address))
    first, second = (folder / f"{digest}-{name}" for digest in digests)
    return first, second


def _fetch(address: str, path: Path) -> None:
    """Copy a file from a file system of fsspec."""
    import fsspec

    try:
        with replacing(path) as temporary:
            system, place = fsspec.core.url_to_fs(address)
            if system.info(place)["type"] != "file":
                raise DataError("not a file")
            system.get_file(place, str(temporary))
            _check_content(temporary, complete=True)
    except DataError:
        raise
    except Exception as error:  # whatever a file system of fsspec raises
        if isinstance(error, ImportError):
            raise DataError(explained(error, address).rstrip(".")) from None
        reason = explained(error, address)
        if not reason or reason == shown_address(address):  # fsspec may only repeat the address
            reason = f"not found, or no connection ({type(error).__name__})"
        raise DownloadError(reason) from None


def _check_content(path: Path, complete: bool) -> None:
    """Check that a file begins as a tar file does, and if it is complete, that it ends as one.

    Raises:
        DataError: It is a web page or another file, or it is cut off.
    """
    with path.open("rb") as file:
        start = file.read(tarfile.BLOCKSIZE)
    opener = next((opener for magic, opener in _COMPRESSED.items() if start.startswith(magic)), None)
    if opener is None and not _is_tar(start):
        page = {b"<": "this is a web page", b"{": "this is a text"}.get(start.lstrip()[:1], "this is another file")
        raise DataError(f"{page} and not a tar file; does the address need a login or a signature?")
    if complete and _is_cut_off(path, opener or open):
        raise DataError("the tar file is cut off")


def _is_tar(start: bytes) -> bool:
    try:
        tarfile.TarInfo.frombuf(start, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return start == bytes(tarfile.BLOCKSIZE)  # an archive without members
    return True


def _is_cut_off(path: Path, opener: Callable[..., Any]) -> bool:
    """Return whether a tar file, compressed or not, does not end in a block of zeros."""
    end = b""
    try:
        with opener(path, "rb") as file:
            if opener is open:
                file.seek(-min(path.stat().st_size, tarfile.BLOCKSIZE), 2)
            while part := file.read(2**20):
                end = (end + part)[-tarfile.BLOCKSIZE :]
    except (EOFError, zlib.error, lzma.LZMAError, OSError):
        return True
    return end != bytes(tarfile.BLOCKSIZE)
