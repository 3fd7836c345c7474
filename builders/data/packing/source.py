"""An image to pack."""

from __future__ import annotations

from dataclasses import dataclass

from builders.data.errors import DataError, PackError
from builders.data.packing.inflate import inflate
from builders.data.tables.parquet_table import ImageColumn, read_image
from builders.files import open_regular

__all__ = ["PackError", "Source"]

#: Largest size of an image file in bytes.
MAX_FILE = 2**30


@dataclass(frozen=True, slots=True)
class Source:
    """An image to pack: a file, a member of a shard or a zip file, or a row of a parquet file.

    Attributes:
        key: Key of the sample.
        path: Path of the image, or of the file that holds it.
        extension: Extension of the image, without a dot.
        caption: Caption, "" if there is none.
        category: Name of the class, "" if unknown.
        group: Group of near-duplicates, which stay in one split; "" if the image is its own group.
        offset: Position in that file.
        size: Number of bytes there; None for a file of its own.
        problem: Why the image cannot be packed, if that is known.
        split: Split that the source assigns: "train", "val" or "test"; "" if it assigns none.
        deflated: Whether the bytes are compressed, as in zip files.
        column: Column of a parquet file; ``offset`` is then the row, counted from 0.
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
    deflated: bool = False
    column: ImageColumn | None = None

    @property
    def is_file(self) -> bool:
        """Whether the image is a file and not a member of a shard."""
        return self.size is None and bool(self.extension)

    @property
    def origin(self) -> str:
        """Name of the image in messages."""
        if self.column is not None:
            return f"{self.path}, row {self.offset + 1}"
        return self.path if self.size is None else f"{self.path}: {self.key}.{self.extension}"

    def read(self) -> bytes:
        """Return the image as it is stored.

        Raises:
            OSError: The file cannot be read.
            DataError: The image cannot be packed.
        """
        if self.problem:
            raise DataError(self.problem)
        if self.column is not None:
            image = read_image(self.path, self.column, self.offset)
            if not image:
                raise DataError(f"{self.origin}: no image")
            return image
        with open_regular(self.path) as file:
            file.seek(self.offset)
            content = file.read(MAX_FILE + 1 if self.size is None else self.size)
        if len(content) > MAX_FILE:
            raise DataError(f"{self.origin}: larger than {MAX_FILE / 2**30:.0f} GiB")
        return inflate(content, self.origin) if self.deflated else content
