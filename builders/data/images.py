"""Images to draw from: what a split of a dataset offers, and the kind that is held in memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from builders.data.dataset_card import DatasetCard

__all__ = ["Images"]


class Images(ABC):
    """A split of a dataset, and an endless shuffled stream of it.

    The stream is one permutation after another. Its n-th sample depends on the seed and on n alone, so training that
    knows how many samples it has drawn goes on exactly where it stopped, whatever the batch size, the number of
    processes and of workers.
    """

    #: Card of the dataset that the split belongs to, and the shards that it is read from.
    card: DatasetCard
    shards: tuple[Path, ...]
    split: str
    #: (N,) int64 indices into ``card.classes``; their number where the class is unknown.
    classes: Tensor

    @abstractmethod
    def __len__(self) -> int:
        """How many images there are."""

    @abstractmethod
    def batch(self, start: int, size: int, *, flip: bool = False) -> dict[str, Any]:
        """Samples ``start`` to ``start + size`` of the stream.

        Args:
            start: position in the stream.
            size: number of samples.
            flip: mirror half of them, drawn with the order; not for images with writing.

        Returns:
            ``image`` (size, 3, height, width) float32 in [-1, 1], ``classes`` (size,) int64, ``scale`` (size,) float32
            (the shorter side of the original in pixels), ``caption`` and ``key`` lists, ``index`` (size,) int64.
        """

    @abstractmethod
    def in_order(self, batch_size: int) -> Iterator[dict[str, Any]]:
        """Every image once, in the order stored; the last batch may be smaller."""

    @abstractmethod
    def first(self, count: int) -> tuple[Tensor, tuple[str, ...]]:
        """Up to ``count`` images (N, 3, height, width) uint8 in the order stored, and their captions."""

    def loader(self, batch_size: int, start: int = 0, *, flip: bool = False) -> Iterator[dict[str, Any]]:
        """Batches without end, from sample ``start`` of the stream."""
        while True:
            yield self.batch(start, batch_size, flip=flip)
            start += batch_size
