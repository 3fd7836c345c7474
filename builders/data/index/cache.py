"""The cache of indexes: reading the headers of millions of samples takes minutes, mapping a file takes none."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from builders.data.errors import DataError
from builders.data.index.table import ShardIndex, numbers, read_table, table_of
from builders.data.recognition.left_out import LeftOut
from builders.data.shard_index import Member, index_shard
from builders.files import cache_folder, file_lock, replacing
from builders.versions import versions

if TYPE_CHECKING:
    import pyarrow

__all__ = ["open_index"]

#: Version of the format. Indexes of other versions are not read.
FORMAT = 2


def open_index(path: Path) -> ShardIndex:
    """Return the index of a shard: from the cache, or by reading its headers and texts.

    It is cached under the path of the shard, with its size and time of modification; one process reads the shard and
    the others wait. Shards whose samples must be held in memory, because they are compressed, and broken ones are not
    cached.

    Args:
        path: Path of the shard.
    """
    try:
        place, stamp = _place(path), _stamp(path)
    except OSError:
        return _read_shard(path)
    with contextlib.ExitStack() as held:
        found = _cached(path, place, stamp)
        if found is None:
            # The cache may not be writable, or full.
            with contextlib.suppress(OSError):
                place.parent.mkdir(parents=True, exist_ok=True)
                held.enter_context(file_lock(place.with_name(f"{place.name[0]}.lock")))
                found = _cached(path, place, stamp)
        if found is None:
            found = _read_shard(path)
            with contextlib.suppress(OSError):
                found = _write(found, place, stamp)
        return found


def _place(path: Path) -> Path:
    """Return the path of the cached index of a shard."""
    name = os.path.abspath(path).encode("utf-8", "surrogateescape")
    return cache_folder() / "indexes" / f"{hashlib.sha256(name).hexdigest()[:32]}.arrow"


def _stamp(path: Path) -> bytes:
    """Return what tells a shard from others that were at its path."""
    facts = path.stat()
    return f"{FORMAT}:{_version()}:{os.path.abspath(path)!r}:{facts.st_size}:{facts.st_mtime_ns}".encode()


@functools.cache
def _version() -> str:
    """Return the version of the zoo: another one may read other samples."""
    return versions().get("matryoshka-zoo", "")


def _cached(path: Path, place: Path, stamp: bytes) -> ShardIndex | None:
    """Return the cached index of a shard, if there is one of this very file."""
    if not place.is_file():
        return None
    try:
        table = read_table(place)
        facts = table.schema.metadata or {}
        return ShardIndex.read(path, table, facts[b"facts"].decode()) if facts.get(b"stamp") == stamp else None
    except Exception:  # a damaged file, or one that is no index: it is written again
        return None


def _read_shard(path: Path) -> ShardIndex:
    errors: list[str] = []
    left_out = LeftOut()
    problem: list[DataError] = []

    def members() -> Iterator[Member]:
        try:
            yield from index_shard(path, lambda error: errors.append(str(error)), left_out=left_out)
        except DataError as error:  # the samples before it are read
            problem.append(error)

    table = table_of(members())
    return ShardIndex(path, table, tuple(errors), left_out, problem[0] if problem else None)


def _write(index: ShardIndex, place: Path, stamp: bytes) -> ShardIndex:
    """Cache an index and return it as mapped, unless it is of a shard that cannot be cached."""
    import pyarrow

    if index.error is not None or numbers(index.table["held"]).any():
        return index
    table: pyarrow.Table = index.table.replace_schema_metadata({"stamp": stamp, "facts": index.facts()})
    with replacing(place) as temporary, pyarrow.ipc.new_file(str(temporary), table.schema) as writer:
        writer.write_table(table)
    return _cached(index.path, place, stamp) or index
