"""Images that are read and decoded when drawn: for datasets larger than memory, and for random crops.

An index of the shards gives random access, so shuffling and resuming work as for images in memory. A compressed shard
has no random access: the bytes of its images are held in memory, undecoded.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from builders.data.classes import class_indices
from builders.data.dataset_card import DatasetCard
from builders.data.decoding import decode_image, fit, fit_random
from builders.data.error_budget import BrokenDataWarning, check_budget
from builders.data.errors import DataError
from builders.data.images import IndexedImages
from builders.data.sample_order import SampleOrder
from builders.data.shard_index import Member
from builders.pixels import to_bytes, to_float
from builders.resizing import is_fractional
from builders.seeds import hashed_generator

__all__ = ["LazyImages"]

#: Broken images that this process has warned about: each phase of a training opens the data again.
_WARNED: set[str] = set()


class LazyImages(IndexedImages):
    """A split whose images are read and decoded when drawn. It can be pickled and sent to other processes.

    Args:
        card: Card of the dataset.
        shards: Shards that the split is read from.
        split: Name of the split.
        members: Images of the split.
        resolution: Side in pixels that images are resized to. Default: the shorter side of the first image.
        seed: Seed of the stream.
        crop: "center" or "random"; a random crop depends on the seed and the position in the stream.
        unreadable: Errors of samples that are not in ``members``; they count as broken.
        others: Number of samples in the other split, if a hash divides the dataset. The error budget counts them too.

    Raises:
        DataError: Too many images are broken to find a first one.
    """

    _how = ", read when drawn"

    def __init__(
        self,
        card: DatasetCard,
        shards: tuple[Path, ...],
        split: str,
        members: tuple[Member, ...],
        resolution: int | None,
        seed: int,
        crop: str,
        unreadable: tuple[str, ...] = (),
        others: int = 0,
    ) -> None:
        self.card, self.shards, self.split = card, shards, split
        self.members, self.seed, self.crop = members, seed, crop
        self.order = SampleOrder(len(members), seed)
        #: Errors of broken images by index, as far as images were drawn.
        self.broken: dict[int, str] = {}
        self._fractional = False
        self.unreadable, self.others = unreadable, others
        self.resolution = resolution or min(self._decode(0)[0].size)
        self.classes = class_indices(card, (member.category for member in members))

    @property
    def fractional(self) -> bool:
        return self._fractional

    def first(self, count: int) -> tuple[Tensor, tuple[str, ...]]:
        drawn = self._read(torch.arange(min(count, len(self))))
        return to_bytes(drawn["image"]), tuple(drawn["caption"])

    def _read(self, index: Tensor, start: int | None = None) -> dict[str, Any]:
        images, sides, found = [], [], []
        for row, wanted in enumerate(index.tolist()):
            image, good = self._decode(wanted)
            if self.crop == "random" and start is not None:
                x, y = torch.rand(2, generator=hashed_generator(self.seed, "crop", start + row)).tolist()
                pixels = fit_random(image, self.resolution, x, y)
            else:
                pixels = fit(image, self.resolution)
            images.append(torch.from_numpy(pixels.copy()).permute(2, 0, 1))
            side = min(image.size)
            self._fractional |= is_fractional(side, side, (self.resolution, self.resolution))
            sides.append(float(side))
            found.append(good)
        rows = torch.tensor(found)
        return {
            "image": to_float(torch.stack(images)),
            "index": rows,
            "classes": self.classes[rows],
            "scale": torch.tensor(sides),
            "caption": [self.members[row].caption for row in found],
            "key": [self.members[row].key for row in found],
        }

    def _decode(self, index: int) -> tuple[Image.Image, int]:
        """Return an image and its index. The next good image replaces a broken one, so that the order stays the same.

        Raises:
            DataError: Too many images are broken.
        """
        while True:
            if index not in self.broken:
                member = self.members[index]
                try:
                    return decode_image(member.read(), member.origin), index
                except DataError as error:
                    self._add_broken(index, str(error))
            # Also for images known to be broken: a caller that continues after the error would otherwise loop forever.
            check_budget(
                self.card.name,
                [*self.unreadable, *self.broken.values()],
                len(self.members) + len(self.unreadable) + self.others,
                none_left=len(self.broken) == len(self.members),
            )
            index = (index + 1) % len(self.members)

    def _add_broken(self, index: int, error: str) -> None:
        self.broken[index] = error
        if error not in _WARNED:
            _WARNED.add(error)
            warnings.warn(f"{self.card.name}: skipped a broken image: {error}", BrokenDataWarning, stacklevel=2)
