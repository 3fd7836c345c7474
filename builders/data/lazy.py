"""Images that are decoded as they are drawn: for sets that memory does not hold, and for random crops.

An index of the shards' members, read from their headers, gives access by position; so the order is as free, and going
on as exact, as in memory. Members of compressed shards are kept as they are stored, for these cannot be entered in the
middle.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from builders.data.dataset_card import DatasetCard
from builders.data.decoding import decode_image, fit, fit_random
from builders.data.error_budget import BrokenDataWarning, check_budget
from builders.data.errors import DataError
from builders.data.images import Images
from builders.data.sample_order import SampleOrder
from builders.data.shard_index import Member
from builders.pixels import to_bytes, to_float
from builders.seeds import hashed_generator

__all__ = ["LazyImages"]

#: Broken images that were told of in this process: each phase of a training opens the data anew.
_TOLD: set[str] = set()


class LazyImages(Images):
    """A split whose images are read and decoded as they are drawn; can be handed to other processes.

    Args:
        card: Card of the dataset.
        shards: Shards that the split is read from.
        split: Name of the split.
        members: the images.
        resolution: side in pixels; by default that of the first image.
        seed: of the stream.
        crop: "center" or "random", the latter drawn with the position in the stream.
        unreadable: what is wrong with samples that are not among the members; they count as broken ones.
        others: samples on the other side of a split by a hash; broken ones are counted among all.

    Raises:
        DataError: too many images are broken to find a first one.
    """

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
        self.indices = {name: index for index, name in enumerate(card.classes)}
        self.order = SampleOrder(len(members), seed)
        #: What is wrong with each image that was found broken, by index.
        self.broken: dict[int, str] = {}
        self.unreadable, self.others = unreadable, others
        self.resolution = resolution or min(self._decode(0)[0].size)
        self.classes = torch.tensor([self._class(member) for member in members], dtype=torch.int64)

    def __len__(self) -> int:
        return len(self.members)

    def __repr__(self) -> str:
        name = self.card.name
        return f"<Images {name} {self.split}: {len(self)} images of {self.resolution} px, read as they are drawn>"

    def batch(self, start: int, size: int, *, flip: bool = False) -> dict[str, Any]:
        index, mirrored = self.order.draw(start, size)
        places = None
        if self.crop == "random":
            generators = (hashed_generator(self.seed, "crop", start + row) for row in range(size))
            places = [torch.rand(2, generator=generator).tolist() for generator in generators]
        drawn = self._read(index.tolist(), places)
        if flip:
            drawn["image"] = torch.where(mirrored[:, None, None, None], drawn["image"].flip(-1), drawn["image"])
        return drawn

    def in_order(self, batch_size: int) -> Iterator[dict[str, Any]]:
        for index in torch.arange(len(self)).split(batch_size):
            yield self._read(index.tolist(), None)

    def first(self, count: int) -> tuple[Tensor, tuple[str, ...]]:
        drawn = self._read(list(range(min(count, len(self)))), None)
        return to_bytes(drawn["image"]), tuple(drawn["caption"])

    def _read(self, indices: list[int], places: list[list[float]] | None) -> dict[str, Any]:
        images, sides, found = [], [], []
        for row, wanted in enumerate(indices):
            image, index = self._decode(wanted)
            side = self.resolution
            pixels = fit(image, side) if places is None else fit_random(image, side, *places[row])
            images.append(torch.from_numpy(pixels.copy()).permute(2, 0, 1))
            sides.append(float(min(image.size)))
            found.append(index)
        members = [self.members[index] for index in found]
        return {
            "image": to_float(torch.stack(images)),
            "index": torch.tensor(found),
            "classes": torch.tensor([self._class(member) for member in members]),
            "scale": torch.tensor(sides),
            "caption": [member.caption for member in members],
            "key": [member.key for member in members],
        }

    def _class(self, member: Member) -> int:
        return self.indices.get(member.category, len(self.indices))

    def _decode(self, index: int) -> tuple[Any, int]:
        """An image; in place of one that is broken the next that is not, so that the order stays what it is.

        Raises:
            DataError: too many are broken.
        """
        while True:
            if index not in self.broken:
                member = self.members[index]
                try:
                    return decode_image(member.read(), member.origin), index
                except DataError as error:
                    self._note(index, str(error))
            # Also for those that are known, or whoever goes on after the error would search without end.
            check_budget(
                self.card.name,
                [*self.unreadable, *self.broken.values()],
                len(self.members) + len(self.unreadable) + self.others,
                none_left=len(self.broken) == len(self.members),
            )
            index = (index + 1) % len(self.members)

    def _note(self, index: int, what: str) -> None:
        self.broken[index] = what
        if what not in _TOLD:
            _TOLD.add(what)
            text = f"{self.card.name}: broken image passed over: {what}"
            warnings.warn(text, BrokenDataWarning, stacklevel=2)
