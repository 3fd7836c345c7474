"""An index of the images in a shard, read from its headers and texts without reading the images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from builders.data.errors import DataError
from builders.data.recognition.formats import IMAGES
from builders.data.recognition.left_out import LeftOut
from builders.data.recognition.members import Choice
from builders.data.shards import contents, read_samples, sample_facts

__all__ = ["Member", "index_shard"]


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
    path: Path,
    on_error: Callable[[DataError], object],
    names: Mapping[str, Sequence[str]] | None = None,
    *,
    choice: Choice | None = None,
    left_out: LeftOut | None = None,
) -> Iterator[Member]:
    """Yield the images of a shard with their texts. Images are not read unless the shard is compressed.

    Args:
        path: Path of the shard.
        on_error: Called with an error for each sample whose texts are broken; the sample is skipped.
        names: JSON keys of "caption", "category" and "group"; see :func:`builders.data.shards.sample_facts`.
        choice: Which members are the image, the caption and the label of a sample.
        left_out: Counts the members that are not read.

    Raises:
        DataError: The shard cannot be read, or it is not clear which members belong together.
    """
    for key, parts in read_samples(path, choice=choice, left_out=left_out):
        extension = next(name for name in IMAGES if name in parts)
        try:
            facts = sample_facts(contents(key, parts), names)
        except DataError as error:
            on_error(DataError(f"{path}: {error}"))
            continue
        offset, size, content = parts[extension]
        yield Member(path, f"{key}.{extension}", key, offset, size, **facts, content=content)
