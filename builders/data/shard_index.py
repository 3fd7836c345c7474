"""Where the images of a shard stand in its file, read from its headers and texts alone.

Members are grouped into samples as webdataset does it, so that whoever reads by this index sees the samples that
:func:`builders.data.shards.read_shard` gives.
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

#: A folder that webdataset takes for a description of the shard.
_META = re.compile(r"__[^/]*__/")
_UNREADABLE = (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError)


@dataclass(frozen=True, slots=True)
class Member:
    """An image in a shard: where its bytes are, and what is known of it."""

    shard: Path
    name: str
    key: str
    offset: int
    size: int
    category: str
    caption: str
    group: str
    #: Its bytes, where the shard is compressed.
    content: bytes | None = None

    @property
    def origin(self) -> str:
        """What messages call it."""
        return f"{self.shard}: {self.name}"

    def read(self) -> bytes:
        """The image as it is stored.

        Raises:
            DataError: the shard cannot be read any more.
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
    path: Path, broken: Callable[[DataError], object], names: Mapping[str, Sequence[str]] | None = None
) -> Iterator[Member]:
    """The images of a shard with their texts; images are not read unless the shard is compressed.

    Args:
        path: of the shard.
        broken: told of each sample whose texts are wrong; the shard goes on without it.
        names: the JSON keys that hold "caption" and "category", where they are not the usual ones.

    Raises:
        DataError: the shard cannot be read.
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
                    broken(DataError(f"{path}: {error}"))
                    continue
                if member is not None:
                    yield member
    except _UNREADABLE as error:
        raise DataError(f"{path}: broken after {read} samples: {error}") from None


def _is_plain(path: Path) -> bool:
    """Whether the file is the archive itself, whatever it is called, so that members can be entered by their place."""
    try:
        with tarfile.open(path, "r:"):
            return True
    except tarfile.ReadError:
        return False


def _samples(path: Path, tar: tarfile.TarFile, plain: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    """Keys, and by extension where a member is, with its content where that is needed."""
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
    extension = next((name for name in IMAGES if name in parts), None)
    if extension is None:
        return None
    texts: dict[str, bytes | str] = {name: parts[name][2] for name in TEXTS if name in parts}
    facts = sample_facts({"__key__": key, **texts}, names)
    offset, size, content = parts[extension]
    return Member(
        path, f"{key}.{extension}", key, offset, size, facts["category"], facts["caption"], facts["group"], content
    )
