"""Clips made up for tests, without files."""

from __future__ import annotations

from typing import Any

import torch

from builders.data.classes import class_indices
from builders.data.dataset_card import DatasetCard
from builders.data.errors import DataError, EmptySplitError
from builders.data.images import IndexedImages
from builders.data.sample_order import SampleOrder
from builders.data.splits import is_held_out


class Samples(IndexedImages):
    """A split whose clip ``n`` has the value ``(10 n + frame) / 255`` everywhere, in its own bytes."""

    def __init__(
        self, card: DatasetCard, numbers: list[int], labels: list[str], side: int, frames: int, seed: int, split: str
    ) -> None:
        self.card, self.resolution, self.split, self.shards = card, side, split, ()
        self.numbers, self.frames = torch.tensor(numbers), frames
        self.order = SampleOrder(len(numbers), seed)
        self.classes = class_indices(card, labels)

    def first(self, count: int) -> tuple[torch.Tensor, tuple[str, ...]]:
        drawn = self._read(torch.arange(min(count, len(self))))
        return ((drawn["image"] + 1) * 127.5).round().to(torch.uint8), tuple(drawn["caption"])

    def _read(self, index: torch.Tensor, start: int | None = None) -> dict[str, Any]:
        numbers = self.numbers[index]
        levels = (10 * numbers[:, None] + torch.arange(self.frames)) % 256 / 127.5 - 1
        image = levels[:, None, :, None, None].expand(-1, 3, -1, self.resolution, self.resolution).contiguous()
        return {
            "image": image if self.frames > 1 else image[:, :, 0],
            "index": index,
            "classes": self.classes[index],
            "scale": 100.0 + numbers,
            "caption": [f"no. {number}" for number in numbers.tolist()],
            "key": [f"{self.card.name}{number}" for number in numbers.tolist()],
        }


class MadeUp:
    """A dataset of clips, or of images.

    Args:
        name: Name of the dataset.
        count: Number of samples in all splits.
        frames: Frames of a clip; 1 for images.
        labels: Names of the classes that samples have in turn; none for no classes.
    """

    def __init__(
        self, name: str = "clips", count: int = 40, frames: int = 4, labels: tuple[str, ...] = ("left", "right")
    ) -> None:
        self.count, self.labels = count, labels
        facts: dict[str, Any] = {"frames": frames} if "frames" in DatasetCard.model_fields else {}
        self.card, self.frames = DatasetCard(name=name, licence=f"licence of {name}", classes=labels, **facts), frames

    @property
    def classes(self) -> tuple[str, ...]:
        return self.card.classes

    def load(
        self, resolution: int, split: str = "train", *, seed: int = 0, crop: str = "center", frames: int = 1
    ) -> Samples:
        if self.frames % frames:
            raise DataError(f"{self.card.name} has clips of {self.frames} frames, not {frames}")
        numbers = [n for n in range(self.count) if is_held_out(f"{self.card.name}{n}") == (split == "val")]
        if not numbers:
            raise EmptySplitError(f"{self.card.name}: no images in its {split} split")
        labels = [self.labels[n % len(self.labels)] if self.labels else "" for n in numbers]
        return Samples(self.card, numbers, labels, resolution, frames, seed, split)
