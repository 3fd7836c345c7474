"""Splits that are decoded once and held in memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from builders.data.classes import class_indices
from builders.data.dataset_card import DatasetCard
from builders.data.decoding import decode_image, fit
from builders.data.errors import MemoryLimitError
from builders.data.images import IndexedImages
from builders.data.sample_order import SampleOrder
from builders.data.shard_index import Member
from builders.pixels import to_float
from builders.resizing import is_fractional

__all__ = ["MAX_BYTES", "Decoder", "MemoryImages"]

#: Largest size in bytes, as uint8, of a split held in memory.
MAX_BYTES = 2**30


class Decoder:
    """Decodes images one by one until they fill the memory limit.

    Args:
        card: Card of the dataset.
        resolution: Side in pixels that images are resized to. Default: the shorter side of the first image.
    """

    def __init__(self, card: DatasetCard, resolution: int | None) -> None:
        self.card, self.resolution = card, resolution
        self.images: list[np.ndarray] = []
        self.sides: list[int] = []
        self.facts: list[tuple[str, str, str]] = []

    def add(self, member: Member) -> None:
        """Decode an image.

        Raises:
            MemoryLimitError: The images would take more than ``MAX_BYTES``.
            DataError: The image is broken.
        """
        image = decode_image(member.read(), member.origin)
        self.resolution = self.resolution or min(image.size)
        if (len(self.images) + 1) * 3 * self.resolution**2 > MAX_BYTES:
            raise MemoryLimitError(
                f"{self.card.name} at {self.resolution} pixels takes more than {MAX_BYTES / 2**30:.3g} GiB of memory; "
                "use a lower resolution or fewer shards"
            )
        self.images.append(fit(image, self.resolution))
        self.sides.append(min(image.size))
        self.facts.append((member.category, member.caption, member.key))

    def finish(self, shards: tuple[Path, ...], split: str, seed: int) -> MemoryImages:
        """Return the decoded images, of which there must be at least one."""
        images = torch.from_numpy(np.stack(self.images)).permute(0, 3, 1, 2).contiguous()
        categories, captions, keys = zip(*self.facts, strict=True)
        classes, sides = class_indices(self.card, categories), torch.tensor(self.sides, dtype=torch.float32)
        return MemoryImages(self.card, shards, split, images, classes, captions, keys, seed, sides)


@dataclass(frozen=True, eq=False, repr=False)
class MemoryImages(IndexedImages):
    """A split that is decoded and held in memory.

    Attributes:
        card: Card of the dataset.
        shards: Shards that the split was read from.
        split: Name of the split.
        images: Images (N, 3, height, width) uint8.
        classes: Class indices (N,) int64 into ``card.classes``; ``len(card.classes)`` if the class is unknown.
        captions: N captions.
        keys: N keys.
        seed: Seed of the stream.
        sides: Shorter sides of the originals in pixels, (N,) float32.
    """

    card: DatasetCard
    shards: tuple[Path, ...]
    split: str
    images: Tensor
    classes: Tensor
    captions: tuple[str, ...]
    keys: tuple[str, ...]
    seed: int = 0
    sides: Tensor = field(default_factory=lambda: torch.zeros(0))

    def __post_init__(self) -> None:
        object.__setattr__(self, "order", SampleOrder(len(self.images), self.seed))
        object.__setattr__(self, "resolution", self.images.shape[-1])

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return a sample: ``image`` (3, height, width) float32 in [-1, 1], ``classes``, ``caption`` and ``key``."""
        return {
            "image": to_float(self.images[index]),
            "classes": int(self.classes[index]),
            "caption": self.captions[index],
            "key": self.keys[index],
        }

    @property
    def fractional(self) -> bool:
        side = self.resolution
        return any(is_fractional(each, each, (side, side)) for each in map(int, self.sides.unique().tolist()))

    def first(self, count: int) -> tuple[Tensor, tuple[str, ...]]:
        return self.images[:count], self.captions[:count]

    def _read(self, index: Tensor, start: int | None = None) -> dict[str, Any]:
        rows: list[int] = index.tolist()
        return {
            "image": to_float(self.images[index]),
            "index": index,
            "classes": self.classes[index],
            "scale": self.sides[index],
            "caption": [self.captions[row] for row in rows],
            "key": [self.keys[row] for row in rows],
        }
