"""The samples of a shard as an Arrow table, which takes a tenth of the memory of Python objects and can be mapped."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builders.data.clips.facts import ClipFacts
from builders.data.errors import DataError
from builders.data.recognition.left_out import LeftOut
from builders.data.shard_index import Member
from builders.data.splits import is_held_out

if TYPE_CHECKING:
    import pyarrow

__all__ = ["ShardIndex", "member_of", "read_table", "table_of"]

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
                yield member_of(self.path, row)

    def first_image(self) -> Member | None:
        """Return the first sample that is an image."""
        return self._first(self.table["frames"].is_null())

    def first_clip(self) -> Member | None:
        """Return the first sample that is a clip of several frames, or of an unknown number."""
        import pyarrow.compute

        return self._first(pyarrow.compute.fill_null(pyarrow.compute.not_equal(self.table["frames"], 1), False))

    def categories(self) -> set[str]:
        """Return all names of classes; "" for samples without one."""
        return {_text(name) for name in self.table["category"].unique().to_pylist()}

    def kinds(self) -> list[Member]:
        """Return the first sample, the first one of another kind, and the first clip of an unknown number of frames.

        These tell all that matters of the kinds of the samples.
        """
        import pyarrow.compute

        if not len(self):
            return []
        frames = self.table["frames"]
        image = pyarrow.compute.is_null(frames)
        other = pyarrow.compute.not_equal(image, image[0])
        unknown = pyarrow.compute.fill_null(pyarrow.compute.equal(frames, 0), False)
        rows = {0, other.index(True).as_py(), unknown.index(True).as_py()} - {-1}
        return [self.row(row) for row in sorted(rows)]

    def row(self, row: int) -> Member:
        """Return a sample."""
        return member_of(self.path, self.table.slice(row, 1).to_pylist()[0])

    def _first(self, chosen: pyarrow.ChunkedArray) -> Member | None:
        row = chosen.index(True).as_py()
        return None if row < 0 else self.row(row)

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

    A group that is the key of its sample is null.
    """
    import pyarrow

    schema, members = _schema(), iter(members)
    batches = []
    while chunk := list(islice(members, ROWS)):
        rows = [_row(member) for member in chunk]
        batches.append(pyarrow.RecordBatch.from_pylist(rows, schema=schema))
    return pyarrow.Table.from_batches(batches, schema=schema)


def read_table(path: Path) -> pyarrow.Table:
    """Map a table that was written in Arrow's file format into memory.

    Raises:
        OSError: The file cannot be read.
        pyarrow.ArrowException: It is damaged.
    """
    import pyarrow

    with pyarrow.memory_map(str(path)) as source:
        return pyarrow.ipc.open_file(source).read_all()


def member_of(path: Path, row: Mapping[str, Any]) -> Member:
    """Return the sample that a row of the table of a shard describes."""
    key = _text(row["key"])
    clip = None
    if row["frames"] is not None:
        clip = ClipFacts(row["frames"], row["rate"], row["scale"], _text(row["sha256"]))
    group = key if row["group"] is None else _text(row["group"])
    return Member(
        path, f"{key}.{row['extension']}", key, row["offset"], row["size"], _text(row["category"]),
        _text(row["caption"]), group, row["content"], clip,
    )  # fmt: skip


def _row(member: Member) -> dict[str, Any]:
    clip = member.clip
    return {
        "key": _bytes(member.key),
        "extension": member.name[len(member.key) + 1 :],
        "offset": member.offset,
        "size": member.size,
        "category": _bytes(member.category),
        "caption": _bytes(member.caption),
        "group": None if member.group == member.key else _bytes(member.group),
        "held_out": is_held_out(member.group),
        "content": member.content,
        "frames": clip and clip.frames,
        "rate": clip and clip.rate,
        "scale": clip and clip.scale,
        "sha256": clip and _bytes(clip.sha256),
    }


def _schema() -> pyarrow.Schema:
    import pyarrow

    texts = ("key", "category", "caption", "group", "sha256")
    kinds = {
        "extension": pyarrow.string(),
        "offset": pyarrow.int64(),
        "size": pyarrow.int64(),
        "held_out": pyarrow.bool_(),
        "content": pyarrow.large_binary(),
        "frames": pyarrow.int32(),
        "rate": pyarrow.float64(),
        "scale": pyarrow.float64(),
    }
    return pyarrow.schema([*((name, pyarrow.binary()) for name in texts), *kinds.items()])


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _text(content: bytes) -> str:
    return content.decode("utf-8", "surrogatepass")
