"""Datasets: found by name or path, and read into memory where they fit, else from their shards as they are drawn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from builders.data.classes import class_index
from builders.data.dataset_card import DatasetCard
from builders.data.error_budget import ErrorBudget
from builders.data.errors import DataError, EmptySplitError, HostileShardError
from builders.data.images import Images
from builders.data.lazy import LazyImages
from builders.data.memory import MAX_BYTES, _Decoder
from builders.data.shard_index import index_shard
from builders.data.shards import read_shard
from builders.data.splits import is_held_out
from specs.schemas.evaluation import split_name

__all__ = ["Dataset"]


@dataclass(frozen=True)
class Dataset:
    """A dataset that was found: what its card says, and where its shards are."""

    card: DatasetCard
    shards: dict[str, tuple[Path, ...]]

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, by index."""
        return self.card.classes

    def class_index(self, name: str) -> int:
        """The index of a class, by its name in any case, a word of it that no other name has, or the index itself.

        Raises:
            DataError: there is no such class.
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
    ) -> Images:
        """Read a split.

        Broken samples and shards are passed over with a warning that names them, as long as they are few.

        Args:
            resolution: side in pixels to bring the images to, by area averaging; by default that of the card or of
                the first image.
            split: "train"; "val", about one sample in ten; or "all".
            seed: of the order in which samples are drawn.
            crop: the "center" square of an image, or a "random" one at every draw.
            memory: hold the images decoded; by default where they take less than a gibibyte and are not cropped at
                random.

        Raises:
            EmptySplitError: there are none in this split.
            DataError: shards or images cannot be read, or too many of them are broken.
        """
        split = split_name(split)
        if crop == "random" or memory is False:
            return self._lazy(resolution, split, seed, crop)
        decoder = _Decoder(self.card, self._shards(split), resolution or self.card.resolution)
        broken = ErrorBudget(self.card.name, sum(1 for _ in self._parts(split)))
        for shard, keep_all in self._parts(split):
            try:
                for sample in read_shard(shard):
                    try:
                        fits = decoder.add(sample, None if keep_all else split == "val", shard)
                    except HostileShardError:
                        raise
                    except DataError as error:
                        broken.add_sample(error)
                        continue
                    if not fits and memory is None:
                        return self._lazy(resolution, split, seed, crop)
                    if not fits:
                        raise DataError(
                            f"{self.card.name} at {decoder.resolution} pixels takes more than {MAX_BYTES / 2**30:.3g} "
                            "GiB of memory; use a lower resolution or fewer shards"
                        )
            except HostileShardError:
                raise
            except DataError as error:
                broken.add_shard(error)
        broken.check(decoder.seen - len(broken.samples), none_left=decoder.inside > 0 and not decoder.images)
        return decoder.finish(split, seed)

    def _lazy(self, resolution: int | None, split: str, seed: int, crop: str) -> LazyImages:
        broken = ErrorBudget(self.card.name, sum(1 for _ in self._parts(split)))
        members, others = [], 0
        for shard, keep_all in self._parts(split):
            try:
                for member in index_shard(shard, broken.add_sample):
                    if keep_all or is_held_out(member.group) == (split == "val"):
                        members.append(member)
                    else:
                        others += 1
            except HostileShardError:
                raise
            except DataError as error:
                broken.add_shard(error)
        broken.check(len(members) + others)
        if not members:
            raise EmptySplitError(f"{self.card.name}: no images in its {split} split")
        side, unreadable = resolution or self.card.resolution, tuple(broken.samples)
        return LazyImages(self.card, self._shards(split), split, tuple(members), side, seed, crop, unreadable, others)

    def _shards(self, split: str) -> tuple[Path, ...]:
        """The shards that a split is read from."""
        return self.shards.get(split, self.shards.get("all", ()))

    def _parts(self, split: str) -> Iterator[tuple[Path, bool]]:
        """Shards to read, and whether all of their samples belong to the split."""
        if split not in ("train", "val", "all"):
            raise DataError(f"no split {split!r}; there are train, val and all")
        if split == "all":
            names = list(self.shards)
        elif split in self.shards:
            names = [split]
        elif "all" in self.shards:
            names = ["all"]
        else:
            has = ", ".join(self.shards) or "none"
            raise EmptySplitError(f"{self.card.name} has no split {split!r}; it has {has}")
        for name in names:
            for shard in self.shards[name]:
                yield shard, name == split or split == "all"
