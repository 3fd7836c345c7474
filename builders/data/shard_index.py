"""An index of the images in a shard, read from its headers and texts without reading the images.

Members are grouped into samples as webdataset does it, so the samples are those of
:func:`builders.data.shards.read_shard`.
"""

from __future__ import annotations

import lzma
import re
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builders.data.dataset_card import sample_facts
from builders.data.errors import DataError
from builders.data.shards import IMAGES, TEXTS, check_shard

__all__ = ["Member", "index_shard"]

#: Folders in which webdataset expects descriptions of the shard.
_META = re.compile(r"__[^/]*__/")
_UNREADABLE = (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError)


@dataclass(frozen=True, slots=True)
class Member:
    """An image in a shard.

    Attributes:
        shard: Path of the shard.
        name: Name of the member.
        key: Key of the sample.
        offset: Position of its bytes in the shard.
        size: Number of bytes.
        category: Name of the class, "" if unknown.
        caption: Caption, "" if there is none.
        group: Group of near-duplicates; by default the key.
        content: Its bytes if the shard is compressed.
    """

    shard: Path
    name: str
    key: str
    offset: int
    size: int
    category: str
    caption: str
    group: str
    content: bytes | None = None

    @property
    def origin(self) -> str:
        """Name of the image in messages."""
        return f"{self.shard}: {self.name}"

    def read(self) -> bytes:
        """Return the image as it is stored.

        Raises:
            DataError: The shard can no longer be read.
        """
        if self.content is not None:
            return self.content
        try:
            with self.shard.open("rb") as file:
                file.seek(self.offset)
                return file.read(self.size)
        except OSError as error:
            raise DataError(f"{self.origin}: {error.strerror or error}") from None


def index_shard(
    path: Path, on_error: Callable[[DataError], object], names: Mapping[str, Sequence[str]] | None = None
) -> Iterator[Member]:
    """Yield the images of a shard with their texts. Images are not read unless the shard is compressed.

    Args:
        path: Path of the shard.
        on_error: Called with an error for each sample whose JSON is broken; the sample is skipped.
        names: JSON keys of "caption", "category" and "group"; see :func:`builders.data.dataset_card.sample_facts`.

    Raises:
        DataError: The shard cannot be read.
    """
    check_shard(path)
    read = 0
    try:
        with tarfile.open(path) as tar:
            for key, parts in _samples(path, tar, _is_plain(path)):
                read += 1
                try:
                    member = _member(path, key, parts, names)
                except DataError as error:
                    on_error(DataError(f"{path}: {error}"))
                    continue
                if member is not None:
                    yield member
    except _UNREADABLE as error:
        raise DataError(f"{path}: broken after {read} samples: {error}") from None


def _is_plain(path: Path) -> bool:
    """Return whether the file is an uncompressed archive, whatever its name, so that its members have positions."""
    try:
        with tarfile.open(path, "r:"):
            return True
    except tarfile.ReadError:
        return False


def _samples(path: Path, tar: tarfile.TarFile, plain: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the key of each sample and, by extension, the offset, size and content of its members.

    The content is None for images that can be read by position.
    """
    from webdataset.tariterators import base_plus_ext

    key: str | None = None
    parts: dict[str, Any] = {}
    for info in tar:
        tar.members = []  # type: ignore[attr-defined]  # it would keep every header
        if not info.isreg() or info.name.rpartition(".")[2].lower() not in (*IMAGES, *TEXTS) or _META.match(info.name):
            continue
        this, extension = base_plus_ext(info.name)
        if this is None:
            continue
        extension = extension.lower()
        if this != key:
            if key is not None:
                yield key, parts
            key, parts = this, {}
        if extension in parts:
            raise DataError(f"{path}: {info.name}: there are two members of this name")
        content = None
        if extension in TEXTS or ((not plain or info.issparse()) and extension in IMAGES):
            stream = tar.extractfile(info)
            assert stream is not None
            content = stream.read()
        parts[extension] = (info.offset_data, info.size, content)
    if key is not None:
        yield key, parts


def _member(path: Path, key: str, parts: dict[str, Any], names: Mapping[str, Sequence[str]] | None) -> Member | None:
    """Return the image of a sample; None if it has no image."""
    extension = next((name for name in IMAGES if name in parts), None)
    if extension is None:
        return None
    texts: dict[str, bytes | str] = {name: parts[name][2] for name in TEXTS if name in parts}
    facts = sample_facts({"__key__": key, **texts}, names)
    offset, size, content = parts[extension]
    return Member(path, f"{key}.{extension}", key, offset, size, **facts, content=content)
