"""An image to pack."""

from __future__ import annotations

from dataclasses import dataclass

from builders.data.errors import DataError, PackError
from builders.files import open_regular

__all__ = ["PackError", "Source"]


@dataclass(frozen=True, slots=True)
class Source:
    """An image to pack: a file, or a member of a shard.

    Attributes:
        key: Key of the sample.
        path: Path of the image or the shard.
        extension: Extension of the image, without a dot.
        caption: Caption, "" if there is none.
        category: Name of the class, "" if unknown.
        group: Group of near-duplicates, which stay in one split; "" if the image is its own group.
        offset: Position in the shard.
        size: Number of bytes in the shard; None for a file.
        problem: Why the image cannot be packed, if that is known.
        split: Split that the source assigns: "train", "val" or "test"; "" if it assigns none.
    """

    key: str
    path: str
    extension: str
    caption: str = ""
    category: str = ""
    group: str = ""
    offset: int = 0
    size: int | None = None
    problem: str = ""
    split: str = ""

    @property
    def is_file(self) -> bool:
        """Whether the image is a file and not a member of a shard."""
        return self.size is None and bool(self.extension)

    @property
    def origin(self) -> str:
        """Name of the image in messages."""
        return self.path if self.size is None else f"{self.path}: {self.key}.{self.extension}"

    def read(self) -> bytes:
        """Return the image as it is stored.

        Raises:
            OSError: The file cannot be read.
            DataError: The image cannot be packed.
        """
        if self.problem:
            raise DataError(self.problem)
        with open_regular(self.path) as file:
            file.seek(self.offset)
            return file.read() if self.size is None else file.read(self.size)
