"""Splits of images or clips that are decoded once and held in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from builders.data.classes import class_indices
from builders.data.clips.arrays import stacked
from builders.data.dataset_card import DatasetCard
from builders.data.errors import MemoryLimitError
from builders.data.images import IndexedImages
from builders.data.sample_order import SampleOrder
from builders.data.sample_reader import Sample, SampleReader
from builders.data.shard_index import Member
from builders.pixels import to_float
from builders.resizing import is_fractional

__all__ = ["MAX_BYTES", "Decoder", "MemoryImages", "check_memory", "fits_memory"]

#: Largest size in bytes, as uint8, of a split held in memory.
MAX_BYTES = 2**30


def fits_memory(count: int, resolution: int, frames: int) -> bool:
    """Return whether samples take at most ``MAX_BYTES`` as uint8."""
    return count * frames * 3 * resolution**2 <= MAX_BYTES


def check_memory(card: DatasetCard, count: int, resolution: int, frames: int) -> None:
    """Check that samples fit into memory.

    Raises:
        MemoryLimitError: They take more than ``MAX_BYTES``.
    """
    if not fits_memory(count, resolution, frames):
        size = f"{resolution} pixels" + (f" and {frames} frames" if frames > 1 else "")
        raise MemoryLimitError(
            f"{card.name} at {size} takes more than {MAX_BYTES / 2**30:.3g} GiB of memory; "
            "use a lower resolution or fewer shards"
        )


class Decoder:
    """Decodes images or clips one by one until they fill the memory limit.

    Args:
        card: Card of the dataset.
        resolution: Side in pixels that they are resized to. Default: the shorter side of the first one.
        frames: Frames that are taken of each clip.
        reduced: Whether large JPEG images are decoded at a smaller size.
    """

    def __init__(self, card: DatasetCard, resolution: int | None, frames: int = 1, *, reduced: bool = False) -> None:
        self.card, self.reader = card, SampleReader(card, resolution, frames, reduced=reduced)
        self.samples: list[Sample] = []
        self.facts: list[tuple[str, str, str]] = []

    def add(self, member: Member) -> None:
        """Decode an image or a clip.

        Raises:
            MemoryLimitError: They would take more than 1 GiB.
            DataError: The image or clip is broken.
        """
        sample = self.reader.read(member)
        check_memory(self.card, len(self.samples) + 1, sample.pixels.shape[1], len(sample.pixels))
        self.samples.append(sample)
        self.facts.append((member.category, member.caption, member.key))

    def finish(self, shards: tuple[Path, ...], split: str, seed: int) -> MemoryImages:
        """Return the decoded images or clips, of which there must be at least one."""
        images = stacked([sample.pixels for sample in self.samples])
        categories, captions, keys = zip(*self.facts, strict=True)
        classes = class_indices(self.card, categories)
        sides = torch.tensor([float(sample.side) for sample in self.samples])
        scales = torch.tensor([float(sample.scale) for sample in self.samples])
        return MemoryImages(self.card, shards, split, images, classes, captions, keys, seed, sides, scales)


@dataclass(frozen=True, eq=False, repr=False)
class MemoryImages(IndexedImages):
    """A split that is decoded and held in memory.

    Attributes:
        card: Card of the dataset.
        shards: Shards that the split was read from.
        split: Name of the split.
        images: Images (N, 3, height, width) or clips (N, 3, frames, height, width), uint8.
        classes: Class indices (N,) int64 into ``card.classes``; ``len(card.classes)`` if the class is unknown.
        captions: N captions.
        keys: N keys.
        seed: Seed of the stream.
        sides: Shorter sides in pixels as stored, (N,) float32.
        scales: Shorter sides of the originals in pixels, (N,) float32. Default: ``sides``.
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
    scales: Tensor | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "order", SampleOrder(len(self.images), self.seed))
        object.__setattr__(self, "resolution", self.images.shape[-1])
        object.__setattr__(self, "frames", self.images.shape[2] if self.images.dim() == 5 else 1)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return a sample: ``image`` in [-1, 1], ``classes``, ``caption`` and ``key``."""
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

    def _read(self, index: Tensor, places: Sequence[int] | None = None) -> dict[str, Any]:
        rows: list[int] = index.tolist()
        return {
            "image": self.images[index],
            "index": index,
            "classes": self.classes[index],
            "scale": (self.sides if self.scales is None else self.scales)[index],
            "caption": [self.captions[row] for row in rows],
            "key": [self.keys[row] for row in rows],
        }
