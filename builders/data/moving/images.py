"""A split of a rendered dataset: clips that are rendered when drawn, and cached if the split fits into memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from builders.data.classes import class_indices
from builders.data.clips.arrays import chosen_frames, stacked
from builders.data.dataset_card import DatasetCard
from builders.data.images import IndexedImages
from builders.data.memory import check_memory, fits_memory
from builders.data.moving.emoji import Emoji, read_emoji
from builders.data.moving.motions import MOTIONS, SEED, caption, poses
from builders.data.moving.render import SIDE, render
from builders.data.sample_order import SampleOrder

__all__ = ["MovingImages"]


class MovingImages(IndexedImages):
    """A split of ``moving-emoji``. It can be pickled and sent to other processes.

    There are nine clips of each emoji. Clip i shows emoji i mod E of E with motion (i mod E + i div E) mod 9, so that
    the first E clips show each emoji once, and the motions equally often.

    Args:
        card: Card of the dataset.
        shards: Shards of the emoji.
        split: Name of the split.
        resolution: Side in pixels. Default: that of the card.
        seed: Seed of the order of samples.
        frames: Frames of a clip, which divide those of the card; 1 gives first frames as images.
        memory: Whether clips are cached once rendered. Default: if the whole split takes less than 1 GiB.

    Raises:
        MemoryLimitError: ``memory`` is True and the clips take more than 1 GiB.
        DataError: The emoji cannot be read, or ``frames`` does not divide the frames of the card.
    """

    def __init__(
        self,
        card: DatasetCard,
        shards: tuple[Path, ...],
        split: str,
        resolution: int | None = None,
        seed: int = 0,
        frames: int = 1,
        memory: bool | None = None,
    ) -> None:
        self.card, self.shards, self.split, self.seed = card, shards, split, seed
        self.frames, self.resolution = frames, resolution or SIDE
        self._chosen = chosen_frames(card, frames)
        self.order = SampleOrder(len(MOTIONS) * len(self._emoji), seed)
        self.classes = class_indices(card, (self._clip(index)[1] for index in range(self.order.count)))
        if memory:
            check_memory(card, len(self), self.resolution, frames)
        self._cached = fits_memory(len(self), self.resolution, frames) if memory is None else memory
        self._clips: dict[int, np.ndarray] = {}

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_clips": {}}

    def clip(self, index: int) -> np.ndarray:
        """Return the pixels (frames, resolution, resolution, 3) uint8 of a clip."""
        found = self._clips.get(index)
        if found is None:
            emoji, motion = self._clip(index)
            found = render(
                emoji.image, [poses(emoji.key, motion, SEED)[each] for each in self._chosen], self.resolution
            )
            if self._cached:
                self._clips[index] = found
        return found

    def facts(self, index: int) -> dict[str, str]:
        """Return "key", "caption", "category" and "group" of a clip."""
        emoji, motion = self._clip(index)
        return {
            "key": f"{emoji.key}-{motion}",
            "caption": caption(emoji.name, motion),
            "category": motion,
            "group": emoji.group,
        }

    def first(self, count: int) -> tuple[Tensor, tuple[str, ...]]:
        drawn = self._read(torch.arange(min(count, len(self))))
        return drawn["image"], tuple(drawn["caption"])

    @property
    def _emoji(self) -> tuple[Emoji, ...]:
        return read_emoji(self.shards)

    def _clip(self, index: int) -> tuple[Emoji, str]:
        """Return the emoji and the motion of a clip."""
        turn, number = divmod(index, len(self._emoji))
        return self._emoji[number], tuple(MOTIONS)[(number + turn) % len(MOTIONS)]

    def _read(self, index: Tensor, places: Sequence[int] | None = None) -> dict[str, Any]:
        rows: list[int] = index.tolist()
        facts = [self.facts(row) for row in rows]
        return {
            "image": stacked([self.clip(row) for row in rows]),
            "index": index,
            "classes": self.classes[index],
            "scale": torch.full((len(rows),), float(SIDE)),
            "caption": [each["caption"] for each in facts],
            "key": [each["key"] for each in facts],
        }
