"""What samples are compared to: images, and their features, kept on disk by the hash of the images and the protocol."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from registry.features import Extractor, extract

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

__all__ = ["ImageSet", "open_images", "reference_features"]

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
        split: of a dataset: train, held_out or all.

    Raises:
        DataError: there is none, or it cannot be read.
    """
    from builders.data import open_dataset
    from builders.dataset_card import CARD, SHARDS, list_datasets
    from builders.image_folder import read_images

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


def reference_features(
    images: ImageSet,
    extractor: Extractor,
    *,
    device: torch.device | str = "cpu",
    progress: Callable[[int], object] = lambda count: None,
) -> np.ndarray:
    """Features (N, width) float32 of a reference set, from the cache if they were taken before.

    The cache goes by the hashes of the images and of the network's weights and by the resize mode; a file that is
    damaged is made anew.
    """
    import numpy as np

    from builders.shard_addresses import cache_folder

    key = hashlib.sha256(f"{images.sha256}:{extractor.name}:{extractor.sha256}:{extractor.resize}".encode())
    path = cache_folder() / f"features-{key.hexdigest()[:32]}.npy"
    try:
        found = np.load(path, allow_pickle=False)
        if found.shape == (len(images.images), extractor.width) and np.isfinite(found).all():
            progress(len(found))
            return found
    except (OSError, ValueError, EOFError):
        pass
    features, _ = extract(extractor, images.batches(), device=device, progress=progress)
    _write(path, features)
    return features


def _write(path: Path, features: np.ndarray) -> None:
    """Keep features; a cache that cannot be written is no reason to stop."""
    import numpy as np

    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            np.save(file, features)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
