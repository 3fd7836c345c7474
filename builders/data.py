"""Images for training: decoded once, held in memory, and drawn in an order that depends on seed and position alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from builders.dataset_card import DatasetCard, find_dataset, list_datasets, sample_facts
from builders.decoding import decode_image, fit
from builders.shards import IMAGES, DataError, read_shard
from specs.errors import did_you_mean

__all__ = ["DataError", "Dataset", "DatasetCard", "ImageData", "list_datasets", "open_data", "open_dataset", "to_float"]

#: Bytes that a split may take in memory, as uint8.
MAX_BYTES = 8 * 2**30
HELD_OUT = 0.1


def open_data(
    name_or_path: str | Path, resolution: int | None = None, split: str = "train", *, seed: int = 0
) -> ImageData:
    """The images of a dataset: ``open_dataset(name_or_path).load(resolution, split, seed=seed)``."""
    return open_dataset(name_or_path).load(resolution, split, seed=seed)


def open_dataset(name_or_path: str | Path) -> Dataset:
    """Find a packaged dataset by name, or one by the path of a folder or of a shard; no image is decoded.

    Raises:
        DataError: there is none, or its shards cannot be read.
        specs.errors.SpecError: its ``dataset.yaml`` is wrong.
    """
    card, shards = find_dataset(name_or_path)
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

    def load(self, resolution: int | None = None, split: str = "train", *, seed: int = 0) -> ImageData:
        """Decode a split into memory.

        Args:
            resolution: side in pixels to bring the images to, by area averaging of their central square; by default
                that of the card or of the first image.
            split: "train" or "held_out", about one sample in ten; or "all".
            seed: of the order in which :class:`ImageData` draws.

        Raises:
            DataError: shards or images cannot be read, or take too much memory.
        """
        decoder = _Decoder(self, resolution or self.card.resolution)
        for shard, keep_all in self._parts(split):
            for sample in read_shard(shard):
                decoder.add(sample, None if keep_all else split == "held_out", shard)
        return decoder.finish(split, seed)

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
            raise DataError(f"{self.card.name} has no split {split!r}; it has {', '.join(self.shards) or 'none'}")
        for name in names:
            for shard in self.shards[name]:
                yield shard, name == split or split == "all"


class _Decoder:
    def __init__(self, dataset: Dataset, resolution: int | None) -> None:
        self.dataset = dataset
        self.resolution = resolution
        self.indices = {name: index for index, name in enumerate(dataset.classes)}
        self.images: list[np.ndarray] = []
        self.classes: list[int] = []
        self.captions: list[str] = []
        self.keys: list[str] = []

    def add(self, sample: dict[str, bytes | str], held_out: bool | None, shard: Path) -> None:
        """Decode a sample, unless it has no image or is on the other side of the split."""
        extension = next((name for name in IMAGES if name in sample), None)
        if extension is None:
            return
        facts = sample_facts(sample)
        if held_out is not None and _is_held_out(facts["group"]) != held_out:
            return
        key, content = str(sample["__key__"]), sample[extension]
        assert isinstance(content, bytes)
        image = decode_image(content, f"{shard}: {key}.{extension}")
        self.resolution = self.resolution or min(image.size)
        if (len(self.images) + 1) * 3 * self.resolution**2 > MAX_BYTES:
            raise DataError(
                f"{self.dataset.card.name} at {self.resolution} pixels takes more than {MAX_BYTES // 2**30} GiB of "
                "memory; use a lower resolution or fewer shards"
            )
        self.images.append(fit(image, self.resolution))
        self.classes.append(self.indices.get(facts["category"], len(self.indices)))
        self.captions.append(facts["caption"])
        self.keys.append(key)

    def finish(self, split: str, seed: int) -> ImageData:
        if not self.images:
            raise DataError(f"{self.dataset.card.name}: no images in its {split} split")
        images = torch.from_numpy(np.stack(self.images)).permute(0, 3, 1, 2).contiguous()
        classes = torch.tensor(self.classes, dtype=torch.int64)
        return ImageData(self.dataset, split, images, classes, tuple(self.captions), tuple(self.keys), seed)


def _is_held_out(group: str) -> bool:
    digest = hashlib.sha256(group.encode()).digest()
    return int.from_bytes(digest[:8], "big") < HELD_OUT * 2**64


def to_float(images: Tensor) -> Tensor:
    """uint8 in 0..255 to float32 in [-1, 1]."""
    return images.float() / 127.5 - 1


@dataclass(frozen=True, eq=False, repr=False)
class ImageData:
    """A split in memory, and an endless shuffled stream of it.

    The stream is one permutation after another. Its n-th sample depends on the seed and on n alone, so training that
    knows how many samples it has drawn goes on exactly where it stopped, whatever the batch size and the number of
    processes (each takes its own part of a batch).

    Attributes:
        dataset: where it came from.
        split: which split it is.
        images: (N, 3, height, width) uint8.
        classes: (N,) int64 indices into ``dataset.classes``; their number where the class is unknown.
        captions: N texts.
        keys: N keys.
        seed: of the stream.
    """

    dataset: Dataset
    split: str
    images: Tensor
    classes: Tensor
    captions: tuple[str, ...]
    keys: tuple[str, ...]
    seed: int = 0
    _epochs: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)

    @property
    def resolution(self) -> int:
        """Side of the images in pixels."""
        return self.images.shape[-1]

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        return f"<ImageData {self.dataset.card.name} {self.split}: {len(self)} images of {self.resolution} px>"

    def __getitem__(self, index: int) -> dict[str, Any]:
        """A sample: ``image`` (3, height, width) float32 in [-1, 1], ``classes``, ``caption``, ``key``."""
        return {
            "image": to_float(self.images[index]),
            "classes": int(self.classes[index]),
            "caption": self.captions[index],
            "key": self.keys[index],
        }

    def batch(self, start: int, size: int, *, flip: bool = False) -> dict[str, Any]:
        """Samples ``start`` to ``start + size`` of the stream.

        Args:
            start: how many samples were drawn before.
            size: how many to draw; may exceed the number of images.
            flip: mirror half of them, drawn with the order; not for images with writing.

        Returns:
            ``image`` (size, 3, height, width) float32 in [-1, 1], ``classes`` (size,) int64, ``caption`` and ``key``
            lists, ``index`` (size,) int64.
        """
        if start < 0 or size < 1:
            raise ValueError(f"a batch of {size} samples from {start}: neither may be negative, nor the batch empty")
        index, mirrored = self._draw(start, size)
        images = to_float(self.images[index])
        if flip:
            images = torch.where(mirrored[:, None, None, None], images.flip(-1), images)
        return {"image": images, "index": index} | self._facts(index)

    def loader(self, batch_size: int, start: int = 0, *, flip: bool = False) -> Iterator[dict[str, Any]]:
        """Batches without end, from sample ``start`` of the stream."""
        while True:
            yield self.batch(start, batch_size, flip=flip)
            start += batch_size

    def in_order(self, batch_size: int) -> Iterator[dict[str, Any]]:
        """Every image once, in the order stored; the last batch may be smaller."""
        for index in torch.arange(len(self)).split(batch_size):
            yield {"image": to_float(self.images[index]), "index": index} | self._facts(index)

    def _facts(self, index: Tensor) -> dict[str, Any]:
        chosen: Sequence[int] = index.tolist()
        return {
            "classes": self.classes[index],
            "caption": [self.captions[i] for i in chosen],
            "key": [self.keys[i] for i in chosen],
        }

    def _draw(self, start: int, size: int) -> tuple[Tensor, Tensor]:
        parts = []
        while size > 0:
            epoch, offset = divmod(start, len(self))
            order, mirrored = self._epoch(epoch)
            parts.append((order[offset : offset + size], mirrored[offset : offset + size]))
            start, size = start + len(parts[-1][0]), size - len(parts[-1][0])
        return torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])

    def _epoch(self, epoch: int) -> tuple[Tensor, Tensor]:
        if epoch not in self._epochs:
            while len(self._epochs) > 1:
                self._epochs.pop(next(iter(self._epochs)))
            # A hash keeps neighbouring seeds and epochs apart.
            digest = hashlib.sha256(f"{self.seed}:{epoch}".encode()).digest()
            generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
            order = torch.randperm(len(self), generator=generator)
            self._epochs[epoch] = order, torch.rand(len(self), generator=generator) < 0.5
        return self._epochs[epoch]
