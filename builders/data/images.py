"""A split of a dataset: its images in an endless shuffled stream, or in order."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from builders.data.dataset_card import DatasetCard
from builders.data.sample_order import SampleOrder
from builders.pixels import to_bytes, to_float

__all__ = ["Images", "IndexedImages", "joined_rows", "joined_samples"]


class Images(ABC):
    """A split of a dataset, and an endless shuffled stream of its samples: images, or clips of several frames.

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
    #: Frames of a sample; 1 for images.
    frames: int = 1

    @property
    def dataset(self) -> DatasetCard:
        """Former name of ``card``."""
        warnings.warn("dataset is now card; the old name goes in version 0.3", FutureWarning, stacklevel=2)
        return self.card

    @property
    def fractional(self) -> bool:
        """Whether images that were read were made smaller by a factor that is no whole number."""
        return False

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of images or clips."""

    @abstractmethod
    def batch(self, start: int, size: int, *, flip: bool = False) -> dict[str, Any]:
        """Return samples ``start`` to ``start + size`` of the stream.

        Args:
            start: Position in the stream.
            size: Number of samples.
            flip: Whether to mirror half of them at random, clips as a whole; not for images with writing, or if classes
                or captions name a side.

        Returns:
            ``image`` (size, 3, height, width) or, if there are several frames, (size, 3, frames, height, width),
            float32 in [-1, 1]; ``classes`` (size,) int64; ``scale`` (size,) float32 (the shorter side of the original
            in pixels); ``caption`` and ``key`` lists; ``index`` (size,) int64.
        """

    def at(self, places: Sequence[int], *, flip: bool = False) -> dict[str, Any]:
        """Return the samples at some places of the stream, such as every fourth one, with their pixels as bytes.

        Only these samples are decoded.

        Args:
            places: Places in the stream, from 0; at least one.
            flip: As for :meth:`batch`.

        Returns:
            What :meth:`batch` returns, with ``image`` as uint8 in 0..255.
        """
        found = joined_samples([self.batch(place, 1, flip=flip) for place in places])
        return found | {"image": to_bytes(found["image"])}

    @abstractmethod
    def in_order(self, batch_size: int, *, most: int | None = None) -> Iterator[dict[str, Any]]:
        """Yield every image or clip once, in the order stored; the last batch may be smaller.

        Args:
            batch_size: Samples of a batch.
            most: Largest number of samples, evenly spread over the split. Default: all.
        """

    @abstractmethod
    def first(self, count: int) -> tuple[Tensor, tuple[str, ...]]:
        """Return up to ``count`` images (N, 3, height, width) uint8 in the order stored, and their captions.

        Clips are (N, 3, frames, height, width).
        """

    def loader(self, batch_size: int, start: int = 0, *, flip: bool = False) -> Iterator[dict[str, Any]]:
        """Yield batches forever, from sample ``start`` of the stream."""
        while True:
            yield self.batch(start, batch_size, flip=flip)
            start += batch_size


class IndexedImages(Images):
    """A split whose images are read by index; subclasses define how."""

    #: Side of the images in pixels.
    resolution: int
    #: Order of the stream.
    order: SampleOrder
    #: Last words of the representation.
    _how = ""

    def __len__(self) -> int:
        return len(self.classes)

    def __repr__(self) -> str:
        what = "images" if self.frames == 1 else f"clips of {self.frames} frames"
        size = f"of {self.resolution} px" if self.frames == 1 else f"at {self.resolution} px"
        return f"<Images {self.card.name} {self.split}: {len(self)} {what} {size}{self._how}>"

    def batch(self, start: int, size: int, *, flip: bool = False) -> dict[str, Any]:
        if start < 0 or size < 1:
            raise ValueError(f"start must not be negative and size must be positive, not {start} and {size}")
        found = self.at(range(start, start + size), flip=flip)
        return found | {"image": to_float(found["image"])}

    def at(self, places: Sequence[int], *, flip: bool = False) -> dict[str, Any]:
        index, mirrored = self.order.at(places)
        found = self._read(index, places)
        images = found["image"]
        if images.dtype != torch.uint8:  # of a subclass that returns them in [-1, 1]
            images = to_bytes(images)
        if flip:
            images = torch.where(mirrored.view(-1, *[1] * (images.dim() - 1)), images.flip(-1), images)
        return found | {"image": images}

    def in_order(self, batch_size: int, *, most: int | None = None) -> Iterator[dict[str, Any]]:
        count = len(self) if most is None else min(most, len(self))
        for index in (torch.arange(count) * len(self) // max(1, count)).split(batch_size):
            found = self._read(index)
            images = found["image"]
            yield found | {"image": to_float(images) if images.dtype == torch.uint8 else images}

    @abstractmethod
    def _read(self, index: Tensor, places: Sequence[int] | None = None) -> dict[str, Any]:
        """Return the batch of some images, with their pixels as bytes.

        Args:
            index: Indices (size,) int64 of the images.
            places: Their places in the stream, if they are drawn from it.
        """


def joined_samples(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return one batch made of several; the frames of clips stay one after the other in memory."""
    return {
        name: joined_rows([part[name] for part in parts])
        if isinstance(value, Tensor)
        else [item for part in parts for item in part[name]]
        for name, value in parts[0].items()
    }


def joined_rows(rows: Sequence[Tensor]) -> Tensor:
    """Return the rows of several tensors; the frames of clips stay one after the other in memory."""
    if rows[0].dim() == 5:
        return torch.cat([clips.transpose(1, 2) for clips in rows]).transpose(1, 2)
    return torch.cat([*rows])
