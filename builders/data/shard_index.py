"""An index of the images and clips in a shard, read from its headers and texts without reading them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from builders.data.clips.facts import ClipFacts
from builders.data.errors import DataError
from builders.data.recognition.formats import MEDIA, VIDEOS
from builders.data.recognition.left_out import LeftOut
from builders.data.recognition.members import Choice
from builders.data.shards import clip_facts, contents, read_samples, sample_facts

__all__ = ["Member", "index_shard"]


@dataclass(frozen=True, slots=True)
class Member:
    """An image or a clip in a shard.

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
        clip: What its ``.json`` says of a clip; None for an image.
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
    clip: ClipFacts | None = None

    @property
    def origin(self) -> str:
        """Name of the image or clip in messages."""
        return f"{self.shard}: {self.name}"

    def read(self) -> bytes:
        """Return the image or clip as it is stored.

        Raises:
            DataError: The shard can no longer be read.
        """
        if self.content is not None:
            return self.content
        try:
            with self.shard.open("rb", buffering=0) as file:
                file.seek(self.offset)
                content = file.read(self.size)
                while len(content) < self.size and (more := file.read(self.size - len(content))):
                    content += more  # some file systems return less than is asked for
                return content
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
    """Yield the images and clips of a shard with their texts. They are not read unless the shard is compressed.

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
        extension = next(name for name in MEDIA if name in parts)
        try:
            sample = contents(key, parts)
            facts = sample_facts(sample, names)
            clip = clip_facts(sample) if extension in VIDEOS else None
        except DataError as error:
            on_error(DataError(f"{path}: {error}"))
            continue
        offset, size, content = parts[extension]
        yield Member(path, f"{key}.{extension}", key, offset, size, **facts, content=content, clip=clip)
