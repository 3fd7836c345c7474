"""What samples are compared to: images, and their features, kept on disk by the hash of the images and the protocol."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ImageSet", "open_images"]

BATCH = 32


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images (N, 3, height, width) uint8 with a name and a hash.

    ``class_counts`` says how many of them each class has, where they have classes.
    """

    name: str
    split: str
    images: Tensor
    licence: str = ""
    class_counts: tuple[int, ...] | None = None
    captions: tuple[str, ...] = ()

    @property
    def sha256(self) -> str:
        """Of the pixels, in order, with their shape."""
        digest = hashlib.sha256(repr(tuple(self.images.shape)).encode())
        digest.update(self.images.contiguous().numpy().tobytes())
        return digest.hexdigest()

    def batches(self) -> Iterator[Tensor]:
        """The images in order."""
        yield from self.images.split(BATCH)


def open_images(
    name_or_path: str | Mapping[str, float], resolution: int | None = None, split: str = "train"
) -> ImageSet:
    """A dataset, a shard, or a folder of plain image files.

    Args:
        name_or_path: a packaged dataset's name, a path, or several with weights.
        resolution: side in pixels to bring images to, by area averaging of the central square.
        split: of a dataset: train, val or all.

    Raises:
        DataError: there is none, or it cannot be read.
    """
    from builders.data.dataset_card import CARD, SHARDS, list_datasets
    from builders.data.image_folder import read_images
    from builders.data.open import open_dataset

    if isinstance(name_or_path, str) and name_or_path not in list_datasets():
        path = Path(name_or_path)
        plain = path.is_dir() and not (path / CARD).is_file()
        if plain and not any(child.name.endswith(SHARDS) for child in path.iterdir()):
            images, _ = read_images(path, resolution)
            return ImageSet(path.resolve().name, "", images)
    dataset = open_dataset(name_or_path)
    data = dataset.load(resolution, split)
    counts = None
    if dataset.classes:
        counts = tuple(int((data.classes == index).sum()) for index in range(len(dataset.classes)))
    images, captions = data.first(len(data))
    return ImageSet(dataset.card.name, split, images, dataset.card.licence, counts, captions)
