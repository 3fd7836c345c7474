"""Datasets: found by name or path, and read into memory where they fit, else from their shards as they are drawn."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from builders.broken import Broken
from builders.dataset_card import DatasetCard, find_dataset, list_datasets, sample_facts
from builders.decoding import decode_image, fit
from builders.image_data import Images, MemoryImages, to_float
from builders.lazy_data import LazyImages
from builders.mixture import Mixture
from builders.shard_index import index_shard
from builders.shards import IMAGES, DataError, EmptySplitError, HostileShardError, read_shard
from specs.errors import did_you_mean

__all__ = ["DataError", "Dataset", "DatasetCard", "ImageData", "list_datasets", "open_data", "open_dataset", "to_float"]

#: Bytes, as uint8, up to which a split is held in memory.
MAX_BYTES = 2**30
HELD_OUT = 0.1

#: What is drawn from; either kind gives the same batches.
ImageData = Images


def open_data(
    name_or_path: str | Path, resolution: int | None = None, split: str = "train", *, seed: int = 0
) -> Images:
    """The images of a dataset: ``open_dataset(name_or_path).load(resolution, split, seed=seed)``."""
    return open_dataset(name_or_path).load(resolution, split, seed=seed)


def open_dataset(what: str | Path | Mapping[str, float]) -> Dataset | Mixture:
    """Find a dataset; no image is decoded.

    Args:
        what: a packaged dataset's name; the path of a folder, of a shard, or a brace range of paths; addresses that
            fsspec reads; or several of these with weights, drawn from in these proportions.

    Raises:
        DataError: there is none, or its shards cannot be read.
        specs.errors.SpecError: its ``dataset.yaml`` is wrong.
    """
    if isinstance(what, Mapping):
        return Mixture({name: open_dataset(name) for name in what}, dict(what))  # type: ignore[misc]
    card, shards = find_dataset(what)
    return Dataset(card, shards)


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
        if name.isdecimal() and int(name) < len(self.classes):
            return int(name)
        folded = [known.casefold() for known in self.classes]
        if name.casefold() in folded:
            return folded.index(name.casefold())
        found = [index for index, known in enumerate(folded) if name.casefold() in known.replace("&", " ").split()]
        if len(found) == 1:
            return found[0]
        raise DataError(
            f"{self.card.name} has no class {name!r}{did_you_mean(name, self.classes)} "
            f"(its classes: {', '.join(self.classes)})"
        )

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
            split: "train" or "held_out", about one sample in ten; or "all".
            seed: of the order in which samples are drawn.
            crop: the "center" square of an image, or a "random" one at every draw.
            memory: hold the images decoded; by default where they take less than a gibibyte and are not cropped at
                random.

        Raises:
            EmptySplitError: there are none in this split.
            DataError: shards or images cannot be read, or too many of them are broken.
        """
        if crop == "random" or memory is False:
            return self._lazy(resolution, split, seed, crop)
        decoder = _Decoder(self, resolution or self.card.resolution)
        broken = Broken(self.card.name, sum(1 for _ in self._parts(split)))
        for shard, keep_all in self._parts(split):
            try:
                for sample in read_shard(shard):
                    try:
                        fits = decoder.add(sample, None if keep_all else split == "held_out", shard)
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
        broken = Broken(self.card.name, sum(1 for _ in self._parts(split)))
        members, others = [], 0
        for shard, keep_all in self._parts(split):
            try:
                for member in index_shard(shard, broken.add_sample):
                    if keep_all or is_held_out(member.group) == (split == "held_out"):
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
        return LazyImages(self, split, tuple(members), side, seed, crop, unreadable, others)

    def _parts(self, split: str) -> Iterator[tuple[Path, bool]]:
        """Shards to read, and whether all of their samples belong to the split."""
        if split not in ("train", "held_out", "all"):
            raise DataError(f"no split {split!r}; there are train, held_out and all")
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


class _Decoder:
    def __init__(self, dataset: Dataset, resolution: int | None) -> None:
        self.dataset = dataset
        self.resolution = resolution
        self.indices = {name: index for index, name in enumerate(dataset.classes)}
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
            raise EmptySplitError(f"{self.dataset.card.name}: no images in its {split} split")
        images = torch.from_numpy(np.stack(self.images)).permute(0, 3, 1, 2).contiguous()
        classes, sides = torch.tensor(self.classes, dtype=torch.int64), torch.tensor(self.sides, dtype=torch.float32)
        captions, keys = tuple(self.captions), tuple(self.keys)
        return MemoryImages(self.dataset, split, images, classes, captions, keys, seed, sides)


def is_held_out(group: str) -> bool:
    """Whether samples of this group are held out, where a dataset has no splits of its own: about one in ten."""
    digest = hashlib.sha256(group.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") < HELD_OUT * 2**64
