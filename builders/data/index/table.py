"""The samples of a shard as an Arrow table, which takes a tenth of the memory of Python objects and can be mapped."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from builders.data.clips.facts import ClipFacts
from builders.data.errors import DataError
from builders.data.recognition.left_out import LeftOut
from builders.data.shard_index import Member
from builders.data.splits import is_held_out

if TYPE_CHECKING:
    import pyarrow

__all__ = ["ShardIndex", "member_of", "numbers", "read_table", "table_of"]

#: Number of frames of a sample that is an image, in the column ``frames``.
IMAGE = -1

#: Rows that are converted at once, to Python and from it.
AT_ONCE = 2**7
ROWS = 2**13


@dataclass(frozen=True)
class ShardIndex:
    """The samples of a shard.

    Attributes:
        path: Path of the shard.
        table: One row per sample; see :func:`table_of`.
        errors: Message for each sample whose texts are broken.
        left_out: Members that are not read.
        error: Why the rest of the shard could not be read, or None.
        cached: Whether the table is a file in the cache folder.
    """

    path: Path
    table: pyarrow.Table
    errors: tuple[str, ...] = ()
    left_out: LeftOut = field(default_factory=LeftOut)
    error: DataError | None = None
    cached: bool = False

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __iter__(self) -> Iterator[Member]:
        for start in range(0, len(self), AT_ONCE):  # a few, because they may hold the bytes of images
            for row in self.table.slice(start, AT_ONCE).to_pylist():
                yield member_of(self.path, row.__getitem__)

    def categories(self) -> set[str]:
        """Return all names of classes; "" for samples without one."""
        return {_text(name) for name in self.table["category"].unique().to_pylist()}

    def first_image(self) -> Member | None:
        """Return the first sample that is an image."""
        return self._first(numbers(self.table["frames"]) == IMAGE)

    def first_clip(self) -> Member | None:
        """Return the first sample that is a clip of several frames, or of an unknown number."""
        frames = numbers(self.table["frames"])
        return self._first((frames != IMAGE) & (frames != 1))

    def kinds(self) -> list[Member]:
        """Return the first sample, the first one of another kind, and the first clip of an unknown number of frames.

        These tell all that matters of the kinds of the samples.
        """
        frames = numbers(self.table["frames"])
        image = frames == IMAGE
        firsts = (np.flatnonzero(chosen)[:1].tolist() for chosen in (image, ~image, frames == 0))
        return [self.row(row) for row in sorted({row for first in firsts for row in first})]

    def row(self, row: int) -> Member:
        """Return a sample."""
        return member_of(self.path, self.table.slice(row, 1).to_pylist()[0].__getitem__)

    def _first(self, chosen: np.ndarray) -> Member | None:
        rows = np.flatnonzero(chosen)
        return self.row(int(rows[0])) if len(rows) else None

    def facts(self) -> str:
        """Return errors and left-out members as JSON."""
        left = self.left_out
        return json.dumps([self.errors, left.counts, left.examples, sorted(left.minor)])

    @classmethod
    def read(cls, path: Path, table: pyarrow.Table, facts: str) -> ShardIndex:
        """Return the index of a table whose :meth:`facts` were saved."""
        errors, counts, examples, minor = json.loads(facts)
        return cls(path, table, tuple(errors), LeftOut(counts, examples, set(minor)), cached=True)


def table_of(members: Iterable[Member]) -> pyarrow.Table:
    """Return a table of samples: texts as UTF-8 bytes, which may hold surrogates, and whether they are held out.

    Nothing is null. An empty ``group`` is the key of its sample. ``frames`` is -1 for images, and ``rate`` and
    ``scale`` are NaN if they are unknown.
    """
    import pyarrow

    schema, members = pyarrow.schema(_kinds()), iter(members)
    batches = []
    while chunk := list(islice(members, ROWS)):
        rows = [_row(member) for member in chunk]
        columns = [_array([row[name] for row in rows], kind) for name, kind in _kinds().items()]
        batches.append(pyarrow.RecordBatch.from_arrays(columns, schema=schema))
    return pyarrow.Table.from_batches(batches, schema=schema)


def _array(values: Sequence[Any], kind: pyarrow.DataType) -> pyarrow.Array:
    """Return a column. ``pyarrow.array`` would import pandas, which takes longer than most shards."""
    import pyarrow

    if pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind):
        ends = np.cumsum([0, *map(len, values)], dtype=np.int64)
        offsets = ends if pyarrow.types.is_large_binary(kind) else ends.astype(np.int32)
        buffers = [pyarrow.py_buffer(offsets), pyarrow.py_buffer(b"".join(values))]
    else:
        buffers = [pyarrow.py_buffer(np.array(values, np.dtype(str(kind))))]
    return pyarrow.Array.from_buffers(kind, len(values), [None, *buffers])


def numbers(column: pyarrow.ChunkedArray) -> np.ndarray:
    """Return the numbers of a column."""
    kind = np.dtype(str(column.type))
    parts = [
        np.frombuffer(chunk.buffers()[1], kind, len(chunk), chunk.offset * kind.itemsize)
        for chunk in column.chunks
        if len(chunk)
    ]
    return np.concatenate([np.zeros(0, kind), *parts])


def read_table(path: Path) -> pyarrow.Table:
    """Map a table that was written in Arrow's file format into memory.

    Raises:
        OSError: The file cannot be read.
        pyarrow.ArrowException: It is damaged.
    """
    import pyarrow

    with pyarrow.memory_map(str(path)) as source:
        return pyarrow.ipc.open_file(source).read_all()


def member_of(path: Path, value: Callable[[str], Any]) -> Member:
    """Return the sample that a row of the table of a shard describes.

    Args:
        path: Path of the shard.
        value: Function that returns the value of a column in this row; only those that are needed are read.
    """
    key, group, frames = _text(value("key")), _text(value("group")), value("frames")
    clip = None
    if frames != IMAGE:
        clip = ClipFacts(frames, _known(value("rate")), _known(value("scale")), _text(value("sha256")))
    return Member(
        path, f"{key}.{_text(value('extension'))}", key, value("offset"), value("size"), _text(value("category")),
        _text(value("caption")), group or key, value("content") if value("held") else None, clip,
    )  # fmt: skip


def _row(member: Member) -> dict[str, Any]:
    clip = member.clip
    return {
        "key": _bytes(member.key),
        "extension": _bytes(member.name[len(member.key) + 1 :]),
        "category": _bytes(member.category),
        "caption": _bytes(member.caption),
        "group": b"" if member.group == member.key else _bytes(member.group),
        "sha256": b"" if clip is None else _bytes(clip.sha256),
        "offset": member.offset,
        "size": member.size,
        "held_out": is_held_out(member.group),
        "held": member.content is not None,
        "content": member.content or b"",
        "frames": IMAGE if clip is None else clip.frames,
        "rate": math.nan if clip is None or clip.rate is None else clip.rate,
        "scale": math.nan if clip is None or clip.scale is None else clip.scale,
    }


def _kinds() -> dict[str, pyarrow.DataType]:
    """Return the types of the columns by name."""
    import pyarrow

    texts = dict.fromkeys(("key", "extension", "category", "caption", "group", "sha256"), pyarrow.binary())
    flags = dict.fromkeys(("held_out", "held"), pyarrow.uint8())
    sizes = {"offset": pyarrow.int64(), "size": pyarrow.int64(), "frames": pyarrow.int32()}
    return texts | flags | sizes | {
        "content": pyarrow.large_binary(), "rate": pyarrow.float64(), "scale": pyarrow.float64()
    }  # fmt: skip


def _known(number: float) -> float | None:
    return None if math.isnan(number) else number


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _text(content: bytes) -> str:
    return content.decode("utf-8", "surrogatepass")
