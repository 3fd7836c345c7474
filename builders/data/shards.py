"""Samples of webdataset shards: tar files whose members with one key form a sample.

Members are grouped as webdataset does it. Its own reader is not used, because it opens ``pipe:`` addresses in a shell
and unpickles members by their extension. Members other than images, JSON and plain text are skipped.
"""

from __future__ import annotations

import gzip
import io
import json
import lzma
import re
import tarfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from builders.data.errors import DataError, HostileShardError
from builders.data.recognition.file_kinds import describe_file
from builders.data.recognition.formats import IMAGES

__all__ = ["IMAGES", "check_shard", "contents", "read_samples", "read_shard", "sample_facts"]

TEXTS = ("json", "txt", "cls")
#: JSON keys of captions and labels, in order of preference. Groups of near-duplicates have no default key, because
#: "group" is often the name of a label.
NAMES = {"caption": ("caption", "text", "prompt"), "category": ("category", "class", "label", "cls"), "group": ()}
#: Largest size of a member in bytes, and largest number of members.
MAX_MEMBER, MAX_MEMBERS = 2**26, 2_000_000
#: Folders in which webdataset expects descriptions of the shard.
_META = re.compile(r"__[^/]*__/")
_BROKEN = (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile)


class Part(NamedTuple):
    """A member of a sample: its position in the shard, its size in bytes, and its content if it was read."""

    offset: int
    size: int
    content: bytes | None


def read_shard(path: Path) -> Iterator[dict[str, bytes | str]]:
    """Yield the samples of a shard: ``__key__``, and the bytes of each member by extension.

    Args:
        path: Path of a .tar file, compressed or not.

    Raises:
        DataError: The file is missing, not a tar file or cut off, or its members are too large or unsafely named.
    """
    for key, parts in read_samples(path, images=True):
        yield contents(key, parts)


def read_samples(path: Path, *, images: bool = False) -> Iterator[tuple[str, dict[str, Part]]]:
    """Yield the key of each sample and its members by extension.

    Args:
        path: Path of a .tar file, compressed or not.
        images: Whether to read the content of images also where it can be read later by position.

    Raises:
        DataError: As for :func:`read_shard`.
    """
    check_shard(path)
    read = 0
    try:
        with tarfile.open(path) as tar:
            # Members of compressed archives cannot be read by position.
            compressed = not isinstance(tar.fileobj, io.BufferedReader)
            for sample in _grouped(path, tar, images or compressed):
                read += 1
                yield sample
    except (*_BROKEN, OSError) as error:
        raise DataError(f"{path}: broken after {read} samples: {error}") from None


def contents(key: str, parts: Mapping[str, Part]) -> dict[str, bytes | str]:
    """Return a sample as webdataset does: ``__key__``, and by extension the members that were read."""
    return {"__key__": key} | {name: part.content for name, part in parts.items() if part.content is not None}


def _grouped(path: Path, tar: tarfile.TarFile, images: bool) -> Iterator[tuple[str, dict[str, Part]]]:
    from webdataset.tariterators import base_plus_ext

    key: str | None = None
    parts: dict[str, Part] = {}
    for info in tar:
        tar.members = []  # type: ignore[attr-defined]  # it would keep every header
        this, extension = base_plus_ext(info.name)
        if not info.isreg() or not _is_known(info.name) or _META.match(info.name) or this is None:
            continue
        extension = extension.lower()
        if this != key:
            if key is not None:
                yield key, parts
            key, parts = this, {}
        if extension in parts:
            raise DataError(f"{path}: {info.name}: there are two members of this name")
        content = None
        if images or extension in TEXTS or info.issparse():
            stream = tar.extractfile(info)
            assert stream is not None
            content = stream.read()
        parts[extension] = Part(info.offset_data, info.size, content)
    if key is not None:
        yield key, parts


def _is_known(name: str) -> bool:
    """Return whether the extension of a member is read."""
    return name.rpartition(".")[2].lower() in (*IMAGES, *TEXTS)


def check_shard(path: Path) -> None:
    """Check the headers of a shard before anything is read into memory.

    Raises:
        DataError: As for :func:`read_shard`.
    """
    if not path.is_file():
        raise DataError(f"{path}: {'not a file' if path.exists() else 'no such file'}")
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
        raise DataError(
            f"{path}: {'the tar file is cut off' if cut_off else f'not a tar file: {describe_file(path)}'}"
        ) from None
    except _BROKEN as error:
        raise DataError(f"{path}: the tar file is broken: {error}") from None
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None


def sample_facts(sample: Mapping[str, bytes | str], names: Mapping[str, Sequence[str]] | None = None) -> dict[str, str]:
    """Return "caption", "category" and "group" of a sample; "" if unknown.

    They come from the sample's ``.json``, or from ``.txt`` (caption) and ``.cls`` (category). Samples of one group are
    near-duplicates that belong in one split; by default each sample is its own group.

    Args:
        sample: Bytes of the members by extension, and ``__key__``.
        names: JSON keys of "caption", "category" and "group". Default: ``NAMES``.

    Raises:
        DataError: The ``.json`` is not a JSON mapping.
    """
    key = str(sample["__key__"])
    names = names or NAMES
    try:
        facts = json.loads(sample.get("json", b"{}"))
    except (ValueError, RecursionError):
        raise DataError(f"sample {key!r}: its .json is not JSON") from None
    if not isinstance(facts, dict):
        raise DataError(f"sample {key!r}: its .json is not a mapping")

    def text(kind: str, extension: str) -> str:
        found = next((facts[name] for name in names[kind] if isinstance(facts.get(name), (str, int))), None)
        if found is not None:
            # JSON can contain lone surrogates, which cannot be encoded as UTF-8.
            return str(found).encode("utf-8", "replace").decode()
        member = sample.get(extension, b"")
        assert isinstance(member, bytes)
        return member.decode("utf-8", "replace").strip()

    category = text("category", "cls")
    return {"caption": text("caption", "txt"), "category": category, "group": text("group", "") or key}
