"""The interface of a split: images in an endless shuffled stream, or in order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from builders.data.dataset_card import DatasetCard

__all__ = ["Images"]


class Images(ABC):
    """A split of a dataset, and an endless shuffled stream of its samples.

    The stream is a sequence of permutations. Sample n depends only on the seed and n, so training that knows how many
    samples it has drawn resumes exactly, with any batch size and any number of processes and workers.
    """

    #: Card of the dataset.
    card: DatasetCard
    #: Shards that the split is read from.
    shards: tuple[Path, ...]
    #: Name of the split.
    split: str
    #: Class indices (N,) int64 into ``card.classes``; ``len(card.classes)`` if the class is unknown.
    classes: Tensor

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of images."""

    @abstractmethod
    def batch(self, start: int, size: int, *, flip: bool = False) -> dict[str, Any]:
        """Return samples ``start`` to ``start + size`` of the stream.

        Args:
            start: Position in the stream.
            size: Number of samples.
            flip: Whether to mirror half of them at random; not for images with writing.

        Returns:
            ``image`` (size, 3, height, width) float32 in [-1, 1], ``classes`` (size,) int64, ``scale`` (size,) float32
            (the shorter side of the original in pixels), ``caption`` and ``key`` lists, ``index`` (size,) int64.
        """

    @abstractmethod
    def in_order(self, batch_size: int) -> Iterator[dict[str, Any]]:
        """Yield every image once, in the order stored; the last batch may be smaller."""

    @abstractmethod
    def first(self, count: int) -> tuple[Tensor, tuple[str, ...]]:
        """Return up to ``count`` images (N, 3, height, width) uint8 in the order stored, and their captions."""

    def loader(self, batch_size: int, start: int = 0, *, flip: bool = False) -> Iterator[dict[str, Any]]:
        """Yield batches forever, from sample ``start`` of the stream."""
        while True:
            yield self.batch(start, batch_size, flip=flip)
            start += batch_size
