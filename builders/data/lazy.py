"""Images and clips that are read and decoded when drawn: for datasets larger than memory, and for random crops.

An index of the shards gives random access, so shuffling and resuming work as for images in memory. A compressed shard
has no random access: the bytes of its images are held in memory, undecoded.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from builders.data.classes import class_indices
from builders.data.clips.arrays import stacked
from builders.data.dataset_card import DatasetCard
from builders.data.error_budget import BrokenDataWarning, check_budget
from builders.data.errors import DataError
from builders.data.images import IndexedImages
from builders.data.index.members import Members
from builders.data.sample_order import SampleOrder
from builders.data.sample_reader import Sample, SampleReader
from builders.data.shard_index import Member
from builders.resizing import is_fractional
from builders.seeds import hashed_generator

__all__ = ["LazyImages"]

#: Broken samples that this process has warned about: each phase of a training opens the data again.
_WARNED: set[str] = set()


class LazyImages(IndexedImages):
    """A split whose images or clips are read and decoded when drawn. It can be pickled and sent to other processes.

    Args:
        card: Card of the dataset.
        shards: Shards that the split is read from.
        split: Name of the split.
        members: Images or clips of the split.
        resolution: Side in pixels that they are resized to. Default: the shorter side of the first one.
        seed: Seed of the stream.
        crop: "center" or "random"; a random crop depends on the seed and the position in the stream, and is the same
            one for all frames of a clip.
        unreadable: Errors of samples that are not in ``members``; they count as broken.
        others: Number of samples in the other split, if a hash divides the dataset. The error budget counts them too.
        frames: Frames that are taken of each clip.
        reduced: Whether large JPEG images are decoded at a smaller size.

    Raises:
        DataError: Too many samples are broken to find a first one.
    """

    _how = ", read when drawn"

    def __init__(
        self,
        card: DatasetCard,
        shards: tuple[Path, ...],
        split: str,
        members: Sequence[Member],
        resolution: int | None,
        seed: int,
        crop: str,
        unreadable: tuple[str, ...] = (),
        others: int = 0,
        frames: int = 1,
        *,
        reduced: bool = False,
    ) -> None:
        self.card, self.shards, self.split = card, shards, split
        self.members, self.seed, self.crop = members, seed, crop
        self.order = SampleOrder(len(members), seed)
        #: Errors of broken samples by index, as far as samples were drawn.
        self.broken: dict[int, str] = {}
        self._fractional = False
        self.unreadable, self.others, self.frames = unreadable, others, frames
        self._reader = SampleReader(card, resolution, frames, reduced=reduced)
        self.resolution = resolution or self._decode(0)[0].side
        if isinstance(members, Members):
            self.classes = members.classes(card)
        else:
            self.classes = class_indices(card, (member.category for member in members))

    @property
    def fractional(self) -> bool:
        return self._fractional

    def first(self, count: int) -> tuple[Tensor, tuple[str, ...]]:
        drawn = self._read(torch.arange(min(count, len(self))))
        return drawn["image"], tuple(drawn["caption"])

    @property
    def captions(self) -> Iterator[str]:
        """Captions in the order stored."""
        if isinstance(self.members, Members):
            return self.members.captions()
        return (member.caption for member in self.members)

    def _read(self, index: Tensor, places: Sequence[int] | None = None) -> dict[str, Any]:
        found, members, scales = [], [], []

        def pixels() -> Iterator[np.ndarray]:
            for row, wanted in enumerate(index.tolist()):
                corner = None
                if self.crop == "random" and places is not None:
                    x, y = torch.rand(2, generator=hashed_generator(self.seed, "crop", places[row])).tolist()
                    corner = (x, y)
                sample, good, member = self._decode(wanted, corner)
                self._fractional |= is_fractional(sample.side, sample.side, (self.resolution, self.resolution))
                found.append(good)
                members.append(member)
                scales.append(float(sample.scale))
                yield sample.pixels

        image, rows = stacked(pixels(), len(index)), torch.tensor(found)
        return {
            "image": image,
            "index": rows,
            "classes": self.classes[rows],
            "scale": torch.tensor(scales),
            "caption": [member.caption for member in members],
            "key": [member.key for member in members],
        }

    def _decode(self, index: int, corner: tuple[float, float] | None = None) -> tuple[Sample, int, Member]:
        """Return a sample, its index and its member. The next good one replaces a broken one: the order stays the same.

        Raises:
            DataError: Too many samples are broken.
        """
        while True:
            if index not in self.broken:
                member = self.members[index]
                try:
                    return self._reader.read(member, corner), index, member
                except DataError as error:
                    self._add_broken(index, str(error))
            # Also for samples known to be broken: a caller that continues after the error would otherwise loop forever.
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
            what = "image" if self.card.frames == 1 else "clip"
            warnings.warn(f"{self.card.name}: skipped a broken {what}: {error}", BrokenDataWarning, stacklevel=2)
