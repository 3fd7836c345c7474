"""Images to draw from: what a split of a dataset offers, and the kind that is held in memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from builders.order import SampleOrder

if TYPE_CHECKING:
    from builders.data import Dataset

__all__ = ["Images", "MemoryImages", "to_bytes", "to_float"]


def to_float(images: Tensor) -> Tensor:
    """uint8 in 0..255 to float32 in [-1, 1]."""
    return images.float() / 127.5 - 1


def to_bytes(images: Tensor) -> Tensor:
    """float32 in [-1, 1] to uint8 in 0..255; of what :func:`to_float` gave, exactly what it was given."""
    return ((images + 1) * 127.5).round().to(torch.uint8)


class Images(ABC):
    """A split of a dataset, and an endless shuffled stream of it.

    The stream is one permutation after another. Its n-th sample depends on the seed and on n alone, so training that
    knows how many samples it has drawn goes on exactly where it stopped, whatever the batch size, the number of
    processes and of workers.
    """

    dataset: Dataset
    split: str
    #: (N,) int64 indices into ``dataset.classes``; their number where the class is unknown.
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


@dataclass(frozen=True, eq=False, repr=False)
class MemoryImages(Images):
    """A split that is decoded and held in memory.

    Attributes:
        dataset: where it came from.
        split: which split it is.
        images: (N, 3, height, width) uint8.
        classes: (N,) int64 indices into ``dataset.classes``; their number where the class is unknown.
        captions: N texts.
        keys: N keys.
        seed: of the stream.
        sides: (N,) float32, the shorter sides of the originals in pixels.
    """

    dataset: Dataset
    split: str
    images: Tensor
    classes: Tensor
    captions: tuple[str, ...]
    keys: tuple[str, ...]
    seed: int = 0
    sides: Tensor = field(default_factory=lambda: torch.zeros(0))
    _order: SampleOrder = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_order", SampleOrder(len(self.images), self.seed))

    @property
    def resolution(self) -> int:
        """Side of the images in pixels."""
        return int(self.images.shape[-1])

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        name, side = self.dataset.card.name, self.images.shape[-1]
        return f"<ImageData {name} {self.split}: {len(self)} images of {side} px>"

    def __getitem__(self, index: int) -> dict[str, Any]:
        """A sample: ``image`` (3, height, width) float32 in [-1, 1], ``classes``, ``caption``, ``key``."""
        return {
            "image": to_float(self.images[index]),
            "classes": int(self.classes[index]),
            "caption": self.captions[index],
            "key": self.keys[index],
        }

    def batch(self, start: int, size: int, *, flip: bool = False) -> dict[str, Any]:
        index, mirrored = self._order.draw(start, size)
        images = to_float(self.images[index])
        if flip:
            images = torch.where(mirrored[:, None, None, None], images.flip(-1), images)
        return {"image": images, "index": index} | self._facts(index)

    def in_order(self, batch_size: int) -> Iterator[dict[str, Any]]:
        for index in torch.arange(len(self)).split(batch_size):
            yield {"image": to_float(self.images[index]), "index": index} | self._facts(index)

    def first(self, count: int) -> tuple[Tensor, tuple[str, ...]]:
        return self.images[:count], self.captions[:count]

    def _facts(self, index: Tensor) -> dict[str, Any]:
        chosen: Sequence[int] = index.tolist()
        return {
            "classes": self.classes[index],
            "scale": self.sides[index],
            "caption": [self.captions[i] for i in chosen],
            "key": [self.keys[i] for i in chosen],
        }
