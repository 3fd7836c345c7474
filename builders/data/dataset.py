"""A dataset: its card and its shards, loaded into memory if they fit, otherwise read while training."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from builders.data.classes import class_index
from builders.data.clips.arrays import chosen_frames
from builders.data.dataset_card import DatasetCard
from builders.data.error_budget import ErrorBudget
from builders.data.errors import DataError, EmptySplitError, MemoryLimitError
from builders.data.images import Images
from builders.data.index.cache import open_index
from builders.data.index.members import Members
from builders.data.index.table import ShardIndex
from builders.data.lazy import LazyImages
from builders.data.memory import Decoder, MemoryImages, check_memory
from builders.data.moving.images import MovingImages
from builders.data.sample_reader import check_kinds
from specs.html_table import html_table
from specs.printable import printable
from specs.schemas.evaluation import split_name

__all__ = ["Dataset", "with_reduced"]

Data = TypeVar("Data")
#: Largest number of shards or classes that a notebook shows.
SHOWN = 20


@dataclass(frozen=True, repr=False)
class Dataset:
    """A dataset: its card, and the paths of its shards by split.

    Attributes:
        card: Card of the dataset.
        shards: Paths of the shards by split.
        reduced: Whether large JPEG images are decoded at a smaller size, which is faster and changes their levels a
            little; see :func:`builders.data.decoding.decode_reduced`.
    """

    card: DatasetCard
    shards: dict[str, tuple[Path, ...]]
    reduced: bool = False

    def __repr__(self) -> str:
        splits = ", ".join(f"{split} {len(shards)}" for split, shards in self.shards.items())
        return printable(f"<Dataset {self.card.name}: {len(self.classes)} classes, shards by split: {splits}>")

    def _repr_html_(self) -> str:
        rows = [(split, ", ".join(path.name for path in shards[:SHOWN])) for split, shards in self.shards.items()]
        rows.append(("classes", ", ".join(self.classes[:SHOWN])))
        rows.append(("licence", self.card.licence))
        return html_table(self.card.name, (), rows, self.card.summary)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, by index."""
        return self.card.classes

    def class_index(self, name: str | int) -> int:
        """Return the index of a class; see :func:`builders.data.classes.class_index`.

        Raises:
            DataError: There is no such class.
        """
        return class_index(self.card, name)

    def load(
        self,
        resolution: int | None = None,
        split: str = "train",
        *,
        seed: int = 0,
        crop: Literal["center", "random"] = "center",
        memory: bool | None = None,
        frames: int = 1,
    ) -> Images:
        """Load a split: images, or clips of several frames.

        A few broken samples and shards are skipped with a warning that names them.

        Args:
            resolution: Side in pixels that images are resized to by area averaging. Default: that of the card, or the
                shorter side of the first image.
            split: "train", "val" (about one sample in ten), "all", or another split of the card, such as "test".
            seed: Seed of the order of samples.
            crop: Whether to take the "center" square of an image, or a "random" one in each epoch.
            memory: Whether to hold the decoded images in memory. Default: if they take less than 1 GiB. Random crops
                are never held in memory.
            frames: Frames of a clip. Of stored clips of more frames, the first of each group is taken; of 1, first
                frames as images.

        Raises:
            EmptySplitError: The split has no images.
            MemoryLimitError: ``memory`` is True and the images take more than 1 GiB.
            DataError: Shards or images cannot be read, or too many of them are broken; clips are wanted of a dataset
                of images; or ``frames`` does not divide the frames of the stored clips.
        """
        split = split_name(split)
        chosen_frames(self.card, frames)
        if self.card.rendered_from:
            shards, _ = self._shards(split)
            return MovingImages(self.card, shards, split, resolution, seed, frames, memory)
        if crop == "center" and memory is not False:
            try:
                return self._load_in_memory(resolution, split, seed, frames)
            except MemoryLimitError:
                if memory:
                    raise
        return self._load_lazily(resolution, split, seed, crop, frames)

    def _load_in_memory(self, resolution: int | None, split: str, seed: int, frames: int = 1) -> MemoryImages:
        shards, _ = self._shards(split)
        errors = ErrorBudget(self.card.name, len(shards))
        decoder = Decoder(self.card, resolution or self.card.resolution, frames, reduced=self.reduced)
        indexes = list(self._indexes(split, errors))
        members = self._chosen(split, indexes)
        tried, others = len(members), sum(map(len, indexes)) - len(members)
        if side := resolution or self.card.resolution:  # not after a GiB of them is decoded
            check_memory(self.card, tried, side, frames)
        for member in members:
            try:
                decoder.add(member)
            except MemoryLimitError:
                raise
            except DataError as error:
                errors.add_sample(error)
        decoded = len(decoder.samples)
        errors.check(decoded + others, none_left=tried > 0 and not decoded)
        if not decoded:
            raise self._empty(split, errors)
        return decoder.finish(shards, split, seed)

    def _load_lazily(self, resolution: int | None, split: str, seed: int, crop: str, frames: int) -> LazyImages:
        shards, _ = self._shards(split)
        errors = ErrorBudget(self.card.name, len(shards))
        indexes = list(self._indexes(split, errors))
        members = self._chosen(split, indexes)
        others = sum(map(len, indexes)) - len(members)
        errors.check(len(members) + others)
        if not members:
            raise self._empty(split, errors)
        side, unreadable = resolution or self.card.resolution, tuple(errors.sample_errors)
        return LazyImages(
            self.card, shards, split, members, side, seed, crop, unreadable, others, frames, reduced=self.reduced
        )

    def _indexes(self, split: str, errors: ErrorBudget) -> Iterator[ShardIndex]:
        """Yield the indexes of the shards of a split, of broken ones as far as they can be read."""
        for shard in self._shards(split)[0]:
            with errors.skip_shard():
                index = open_index(shard)
                errors.sample_errors += index.errors
                errors.left_out.update(index.left_out)
                check_kinds(self.card, index)
                yield index
                if index.error is not None:
                    raise index.error

    def _chosen(self, split: str, indexes: Sequence[ShardIndex]) -> Members:
        """Return the samples of the shards of a split that are in the split."""
        whole = self._shards(split)[1]
        return Members(indexes) if whole else Members.of_split(indexes, held_out=split == "val")

    def _empty(self, split: str, errors: ErrorBudget) -> EmptySplitError:
        found = "".join(f"; left out {line}" for line in errors.left_out.lines())
        what = "images" if self.card.frames == 1 else "clips"
        return EmptySplitError(f"{self.card.name}: no {what} in its {split} split{found}")

    def _shards(self, split: str) -> tuple[tuple[Path, ...], bool]:
        """Return the shards to read, and whether all of their samples are in the split."""
        if split not in ("train", "val", "all", *self.shards):
            raise DataError(f"no split {split!r}; there are train, val and all")
        if split == "all":
            return tuple(shard for shards in self.shards.values() for shard in shards), True
        if split in self.shards:
            return self.shards[split], True
        if "all" in self.shards:
            return self.shards["all"], False
        raise EmptySplitError(f"{self.card.name} has no split {split!r}; it has {', '.join(self.shards) or 'none'}")


def with_reduced(data: Data) -> Data:
    """Return a dataset or a mixture whose large JPEG images are decoded at a smaller size; see :class:`Dataset`."""
    changed = copy.copy(data)
    sets = getattr(data, "sets", None)
    if sets is not None:
        object.__setattr__(changed, "sets", {name: with_reduced(each) for name, each in sets.items()})
    elif isinstance(data, Dataset):
        object.__setattr__(changed, "reduced", True)
    return changed
