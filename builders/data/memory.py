"""Splits that are decoded once and held in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from builders.data.dataset_card import DatasetCard, sample_facts
from builders.data.decoding import decode_image, fit
from builders.data.errors import DataError, EmptySplitError
from builders.data.images import Images
from builders.data.sample_order import SampleOrder
from builders.data.shards import IMAGES
from builders.data.splits import is_held_out
from builders.pixels import to_float

#: Bytes, as uint8, up to which a split is held in memory.
MAX_BYTES = 2**30


class _Decoder:
    def __init__(self, card: DatasetCard, shards: tuple[Path, ...], resolution: int | None) -> None:
        self.card, self.shards = card, shards
        self.resolution = resolution
        self.indices = {name: index for index, name in enumerate(card.classes)}
        #: Samples with an image, on both sides of the split, and those of them that are known to be in it.
        self.seen = self.inside = 0
        self.images: list[np.ndarray] = []
        self.sides: list[int] = []
        self.classes: list[int] = []
        self.captions: list[str] = []
        self.keys: list[str] = []

    def add(self, sample: dict[str, bytes | str], held_out: bool | None, shard: Path) -> bool:
        """Decode a sample, unless it has no image or is on the other side of the split; False if memory is full."""
        extension = next((name for name in IMAGES if name in sample), None)
        if extension is None:
            return True
        self.seen += 1
        try:
            facts = sample_facts(sample)
        except DataError as error:
            raise DataError(f"{shard}: {error}") from None
        if held_out is not None and is_held_out(facts["group"]) != held_out:
            return True
        self.inside += 1
        key, content = str(sample["__key__"]), sample[extension]
        assert isinstance(content, bytes)
        image = decode_image(content, f"{shard}: {key}.{extension}")
        self.resolution = self.resolution or min(image.size)
        if (len(self.images) + 1) * 3 * self.resolution**2 > MAX_BYTES:
            return False
        self.images.append(fit(image, self.resolution))
        self.sides.append(min(image.size))
        self.classes.append(self.indices.get(facts["category"], len(self.indices)))
        self.captions.append(facts["caption"])
        self.keys.append(key)
        return True

    def finish(self, split: str, seed: int) -> MemoryImages:
        if not self.images:
            raise EmptySplitError(f"{self.card.name}: no images in its {split} split")
        images = torch.from_numpy(np.stack(self.images)).permute(0, 3, 1, 2).contiguous()
        classes, sides = torch.tensor(self.classes, dtype=torch.int64), torch.tensor(self.sides, dtype=torch.float32)
        captions, keys = tuple(self.captions), tuple(self.keys)
        return MemoryImages(self.card, self.shards, split, images, classes, captions, keys, seed, sides)


@dataclass(frozen=True, eq=False, repr=False)
class MemoryImages(Images):
    """A split that is decoded and held in memory.

    Attributes:
        card: Card of the dataset.
        shards: Shards that the split was read from.
        split: Name of the split.
        images: (N, 3, height, width) uint8.
        classes: (N,) int64 indices into ``card.classes``; their number where the class is unknown.
        captions: N texts.
        keys: N keys.
        seed: of the stream.
        sides: (N,) float32, the shorter sides of the originals in pixels.
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
        name, side = self.card.name, self.images.shape[-1]
        return f"<Images {name} {self.split}: {len(self)} images of {side} px>"

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
