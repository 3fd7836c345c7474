"""The samples of a split over all of its shards, as a sequence that holds no Python objects."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import torch
from torch import Tensor

from builders.data.classes import class_indices
from builders.data.dataset_card import DatasetCard
from builders.data.errors import DataError
from builders.data.index.cache import open_index
from builders.data.index.table import ShardIndex, member_of, numbers
from builders.data.shard_index import Member

if TYPE_CHECKING:
    import pyarrow

__all__ = ["Members"]


class Members(Sequence[Member]):
    """The samples of a split.

    Sent to another process, it is opened there again if its shards are in the cache.

    Args:
        indexes: Indexes of the shards.
        rows: Which samples are in the split, counted over all shards. Default: all.
    """

    def __init__(self, indexes: Sequence[ShardIndex], rows: np.ndarray | None = None) -> None:
        import pyarrow

        self.paths = [index.path for index in indexes]
        self._ends = list(accumulate(map(len, indexes)))
        self._cached = all(index.cached for index in indexes)
        table = pyarrow.concat_tables([index.table for index in indexes])
        #: Columns by name of each batch of the table: looking them up takes longer than reading a row of them.
        self._batches: list[dict[str, pyarrow.Array]] = [
            dict(zip(table.column_names, batch.columns, strict=True)) for batch in table.to_batches()
        ]
        #: First row of each batch, and the number of rows.
        self._starts = list(accumulate((len(batch["key"]) for batch in self._batches), initial=0))
        self._rows = rows

    @classmethod
    def of_split(cls, indexes: Sequence[ShardIndex], held_out: bool) -> Members:
        """Return the samples that are held out by the hash of their group, or those that are not."""
        marks = [np.zeros(0, np.uint8), *(numbers(index.table["held_out"]) for index in indexes)]
        rows = np.flatnonzero(np.concatenate(marks) == held_out)
        return cls(indexes, rows.astype(np.int32) if sum(map(len, indexes)) < 2**31 else rows)

    def __len__(self) -> int:
        return self._starts[-1] if self._rows is None else len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Member: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Member, ...]: ...
    def __getitem__(self, index: int | slice) -> Member | tuple[Member, ...]:
        if isinstance(index, slice):
            return tuple(self[each] for each in range(*index.indices(len(self))))
        if not -len(self) <= index < len(self):
            raise IndexError(f"there are {len(self)} samples, not {index}")
        row = range(len(self))[index] if self._rows is None else int(self._rows[index])
        path = self.paths[bisect_right(self._ends, row)]
        batch = bisect_right(self._starts, row) - 1
        columns, place = self._batches[batch], row - self._starts[batch]
        return member_of(path, lambda name: columns[name][place].as_py())

    def captions(self) -> Iterator[str]:
        """Yield the captions in order, which is faster than reading the samples."""
        for chunk, rows in self._chunks("caption"):
            texts = chunk.to_pylist()
            yield from (texts[row].decode("utf-8", "surrogatepass") for row in rows)

    def classes(self, card: DatasetCard) -> Tensor:
        """Return the indices of the classes (N,) int64; see :func:`builders.data.classes.class_indices`."""
        found = [np.zeros(0, np.int64)]
        for chunk, rows in self._chunks("category"):
            encoded = chunk.dictionary_encode()
            names = (name.decode("utf-8", "surrogatepass") for name in encoded.dictionary.to_pylist())
            codes = np.frombuffer(encoded.indices.buffers()[1], np.int32, len(chunk))
            found.append(class_indices(card, names).numpy()[codes[rows]])
        return torch.from_numpy(np.concatenate(found))

    def _chunks(self, name: str) -> Iterator[tuple[pyarrow.Array, np.ndarray]]:
        """Yield a column in parts, and which of their rows are in the split."""
        for start, batch in zip(self._starts, self._batches, strict=False):
            chunk = batch[name]
            rows = np.arange(len(chunk))
            if self._rows is not None:
                first, last = np.searchsorted(self._rows, (start, start + len(chunk)))
                rows = self._rows[first:last] - start
            yield chunk, rows

    def __reduce__(self) -> Any:
        if self._cached:
            return _opened, (self.paths, self._rows, self._starts[-1])
        return _restored, (self.__dict__,)


def _opened(paths: Sequence[Path], rows: np.ndarray | None, count: int) -> Members:
    members = Members([open_index(path) for path in paths], rows)
    if members._starts[-1] != count:
        raise DataError(f"{paths[0]}: the shards have changed since they were opened")
    return members


def _restored(state: dict[str, Any]) -> Members:
    members = Members.__new__(Members)
    members.__dict__.update(state)
    return members
