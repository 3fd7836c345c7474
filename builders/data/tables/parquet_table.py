"""Parquet files: images as bytes with captions and labels, or tables of paths. Needs pyarrow, which MLflow installs."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builders.data.errors import DataError, PackError
from builders.data.tables.columns import same_name
from builders.data.tables.json_table import scalar_text
from builders.data.tables.table import Row, Table
from builders.files import open_regular

__all__ = ["ImageColumn", "parquet_table", "read_image"]

#: Names of columns with the bytes of images, in order of preference, where there are several.
PREFERRED = ("image", "img", "jpg", "jpeg", "png", "webp", "image_bytes", "bytes")
#: Number of rows whose images are in memory at a time.
BATCH = 16


@dataclass(frozen=True, slots=True)
class ImageColumn:
    """The column of a parquet file that holds images.

    Attributes:
        name: Name of the column.
        nested: Whether its values are mappings of "bytes" and "path", as Hugging Face stores images, and not bytes.
    """

    name: str
    nested: bool

    @property
    def leaf(self) -> str:
        """Path of the bytes in the schema."""
        return f"{self.name}.bytes" if self.nested else self.name


def parquet_table(
    path: Path, image: str | None = None, content: bytes | None = None
) -> tuple[Table, ImageColumn | None]:
    """Return the texts of a parquet file, and the column with the bytes of its images, which is not read.

    Args:
        path: Path of the file.
        image: Column of images, if the user names one. Default: the only column of bytes, or the one with a usual name.
        content: Bytes of the file, if they are not read from the path.

    Returns:
        Its texts, and its column of images; None if it lists paths of images. The texts of a column of images are the
        paths that are stored with the bytes.

    Raises:
        PackError: The file is not a parquet file, pyarrow is missing, or several columns may hold the images.
    """
    with _opened(path, content) as file:
        schema = file.schema_arrow
        column = _image_column(path, schema, image)
        texts = [field.name for field in schema if _is_text(field.type)]
        paths = [f"{field.name}.path" for field in schema if _struct(field.type, "path")]
        classes = _class_names(schema.metadata or {})
        # Lists are not read, but a caption that is one must not be lost without a word.
        lists = [field.name for field in schema if _is_list(field.type)]
        rows: list[Row] = []
        for batch in file.iter_batches(batch_size=4096, columns=[*texts, *paths]):
            rows += [_row(len(rows) + number, record, classes) for number, record in enumerate(batch.to_pylist(), 1)]
        if not texts and not paths:
            rows = [Row(number, {}) for number in range(1, file.metadata.num_rows + 1)]
        if lists:
            rows = [row._replace(fields={**row.fields, **dict.fromkeys(lists)}) for row in rows]
    columns = [*texts, *(name.removesuffix(".path") for name in paths), *lists]
    if column is not None and column.name not in columns:
        columns.append(column.name)
    return Table(str(path), tuple(columns), tuple(rows), "row"), column


def read_image(path: str, column: ImageColumn, row: int) -> bytes | None:
    """Return the image in a row, counted from 0; None if it is null.

    Rows are read fastest in their order: a few around the last one are in memory.

    Raises:
        PackError: The file can no longer be read.
        IndexError: The file no longer has the row.
    """
    reader = _READERS.get(path)
    if reader is None or reader.column != column or row < reader.first:
        _READERS.clear()
        reader = _READERS[path] = _Reader(Path(path), column)
    return reader.read(row)


class _Reader:
    """Reads the images of a file in their order."""

    def __init__(self, path: Path, column: ImageColumn) -> None:
        self.path = path
        self.column = column
        self.first = 0
        self._images: list[bytes | None] = []
        self._batches = self._iterate()

    def read(self, row: int) -> bytes | None:
        while row >= self.first + len(self._images):
            self.first += len(self._images)
            self._images = next(self._batches, [])
            if not self._images:
                _READERS.clear()
                raise PackError(f"{self.path}: row {row + 1} is missing; the file has changed")
        return self._images[row - self.first]

    def _iterate(self) -> Iterator[list[bytes | None]]:
        with _opened(self.path) as file:
            for batch in file.iter_batches(batch_size=BATCH, columns=[self.column.leaf]):
                values = batch.column(0).to_pylist()
                yield [value and value.get("bytes") for value in values] if self.column.nested else values


#: The file that was read last.
_READERS: dict[str, _Reader] = {}


@contextmanager
def _opened(path: Path, content: bytes | None = None) -> Iterator[Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise PackError(f"{path}: parquet files need pyarrow (pip install pyarrow)") from None
    try:
        stream = open_regular(path) if content is None else io.BytesIO(content)
        with stream, pyarrow.parquet.ParquetFile(stream) as file:
            yield file
    except DataError:
        raise
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0][:200]
        raise PackError(
            f"{path}: not a parquet file that can be read ({reason}). A folder of images, CSV, JSONL and shards can be "
            "packed too"
        ) from None


def _image_column(path: Path, schema: Any, wanted: str | None) -> ImageColumn | None:
    import pyarrow.types

    binary = (pyarrow.types.is_binary, pyarrow.types.is_large_binary)
    found = [
        ImageColumn(field.name, nested)
        for field in schema
        if (nested := _struct(field.type, "bytes")) or any(check(field.type) for check in binary)
    ]
    if wanted is not None:
        return next((column for column in found if same_name(column.name, wanted)), None)
    if len(found) < 2:
        return found[0] if found else None
    named = [column for name in PREFERRED for column in found if same_name(column.name, name)]
    if not named:
        raise PackError(
            f"{path}: several columns may hold images ({', '.join(column.name for column in found)}); name one with "
            "--image"
        )
    return named[0]


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    if types.is_dictionary(kind):
        kind = kind.value_type
    checks = (types.is_string, types.is_large_string, types.is_integer, types.is_floating, types.is_boolean)
    return any(check(kind) for check in checks)


def _is_list(kind: Any) -> bool:
    from pyarrow import types

    return any(check(kind) for check in (types.is_list, types.is_large_list, types.is_fixed_size_list, types.is_map))


def _struct(kind: Any, field: str) -> bool:
    """Return whether a type is a mapping with a field."""
    from pyarrow import types

    return types.is_struct(kind) and kind.get_field_index(field) >= 0


def _class_names(metadata: dict[bytes, bytes]) -> dict[str, list[str]]:
    """Return the names of classes by column, which Hugging Face stores in the schema."""
    try:
        features = json.loads(metadata[b"huggingface"])["info"]["features"]
        return {name: feature["names"] for name, feature in features.items() if feature.get("_type") == "ClassLabel"}
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        return {}


def _row(number: int, record: dict[str, Any], classes: dict[str, list[str]]) -> Row:
    fields: dict[str, str | None] = {}
    for name, value in record.items():
        names = classes.get(name)
        if isinstance(value, dict):
            value = value.get("path")
        elif names is not None and isinstance(value, int):
            value = names[value] if 0 <= value < len(names) else None if value == -1 else value
        fields[name] = scalar_text(value)
    return Row(number, fields)
