"""Samples of webdataset shards: tar files whose members with one key form a sample.

webdataset opens ``pipe:`` addresses in a shell and unpickles members by their extension. Here it only receives streams
of local files and decodes nothing; members other than images, JSON and plain text are skipped.
"""

from __future__ import annotations

import gzip
import lzma
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from builders.data.errors import DataError, HostileShardError

__all__ = ["IMAGES", "check_shard", "read_shard"]

#: Extensions of images, in order of preference.
IMAGES = ("png", "webp", "jpg", "jpeg", "gif")
TEXTS = ("json", "txt", "cls")
#: Largest size of a member in bytes, and largest number of members.
MAX_MEMBER, MAX_MEMBERS = 2**26, 2_000_000
_BROKEN = (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile)


def read_shard(path: Path) -> Iterator[dict[str, bytes | str]]:
    """Yield the samples of a shard: ``__key__``, and the bytes of each member by extension.

    Args:
        path: Path of a .tar file, compressed or not.

    Raises:
        DataError: The file is missing, not a tar file or cut off, or its members are too large or unsafely named.
    """
    from webdataset.tariterators import group_by_keys, tar_file_expander

    check_shard(path)
    read = 0
    try:
        with path.open("rb") as stream:
            files = tar_file_expander([{"url": str(path), "stream": stream}], select_files=_is_known)
            for sample in group_by_keys(files):
                read += 1
                yield {name: value for name, value in sample.items() if name not in ("__url__", "__local_path__")}
    except _BROKEN as error:
        raise DataError(f"{path}: broken after {read} samples: {error.args[0] if error.args else error}") from None
    except ValueError as error:
        if isinstance(error, DataError):
            raise
        name, found, _ = str(error.args[0]).partition(": duplicate file name")
        raise DataError(f"{path}: {name}{': there are two members of this name' if found else ''}") from None


def _is_known(name: str) -> bool:
    """Return whether the extension of a member is read."""
    return name.rpartition(".")[2].lower() in (*IMAGES, *TEXTS)


def check_shard(path: Path) -> None:
    """Check the headers of a shard before anything is read into memory.

    Raises:
        DataError: The file is missing, not a tar file or cut off, or its members are too large or unsafely named.
    """
    if not path.exists():
        raise DataError(f"{path}: no such file")
    if not path.is_file():
        raise DataError(f"{path}: not a file")
    try:
        with tarfile.open(path) as tar:
            count = 0
            while (member := tar.next()) is not None:
                count += 1
                tar.members = []  # type: ignore[attr-defined]  # it would keep every header
                if count > MAX_MEMBERS:
                    raise DataError(f"{path}: more than {MAX_MEMBERS:,} members")
                if member.name.startswith("/") or ".." in member.name.split("/"):
                    raise HostileShardError(f"{path}: unsafe member name {member.name!r}")
                if member.isreg() and _is_known(member.name) and member.size > MAX_MEMBER:
                    raise DataError(f"{path}: {member.name} has {member.size:,} bytes; the limit is {MAX_MEMBER:,}")
            # tarfile takes a truncated header for the end; a whole archive ends in a block of zeros.
            assert tar.fileobj is not None
            tar.fileobj.seek(tar.offset)
            if tar.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise DataError(f"{path}: the tar file is cut off")
    except tarfile.ReadError as error:
        cut_off = "unexpected end" in str(error)
        raise DataError(f"{path}: {'the tar file is cut off' if cut_off else 'not a tar file'}") from None
    except _BROKEN as error:
        raise DataError(f"{path}: the tar file is broken: {error}") from None
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None
