"""Sets of images that are measured, or that samples are compared with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from builders.checkpoints.file_kinds import OTHERS
from registry.evaluation.clip_sets import MOST, ClipSet, open_clips, selected
from specs.blocks.size import Size

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ImageSet", "names_images", "open_images", "open_reference"]

#: Extensions of files that may hold samples, not weights.
ARRAYS = (".npz", ".npy", ".h5")
#: Extensions of entries and checkpoints.
MODELS = (".yaml", ".yml", ".safetensors", *(suffix for suffix in OTHERS if suffix not in ARRAYS))
#: Images per batch of the feature network.
BATCH = 32


@dataclass(frozen=True, eq=False)
class ImageSet:
    """A named set of images.

    Attributes:
        name: Name of the dataset, folder or entry.
        split: Split of the dataset; empty for other images.
        images: Images, (N, 3, height, width) uint8.
        licence: Licence of the dataset.
        class_counts: Number of images of each class; None without classes.
        captions: Captions of the images.
        classes: Names of the classes.
        resizing: "area" if images were made smaller by a factor that is no whole number, otherwise empty.
    """

    name: str
    split: str
    images: Tensor
    licence: str = ""
    class_counts: tuple[int, ...] | None = None
    captions: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    resizing: str = ""

    @property
    def sha256(self) -> str:
        """Hash of the pixels, in order, and of their shape."""
        digest = hashlib.sha256(repr(tuple(self.images.shape)).encode())
        digest.update(self.images.contiguous().numpy().tobytes())
        return digest.hexdigest()

    def batches(self) -> Iterator[Tensor]:
        """Return the images in order, in batches."""
        yield from self.images.split(BATCH)


def names_images(what: str) -> bool:
    """Return whether a text names images, and not an entry or checkpoint: a shard, or a folder without weights.

    Raises:
        DataError: It names a file of another kind.
    """
    from builders.data.errors import DataError
    from builders.data.recognition.file_kinds import describe_file
    from builders.data.recognition.formats import SHARDS

    path = Path(what)
    if not path.is_file():
        return path.is_dir() and not any(path.glob("*.safetensors"))
    if not path.name.endswith(SHARDS) and path.suffix.lower() not in MODELS:
        raise DataError(f"{what}: not an entry, a checkpoint or a folder of images: {describe_file(path)}")
    return path.name.endswith(SHARDS)


def open_images(
    name_or_path: str | Mapping[str, float], resolution: int | None = None, split: str = "train", *, fetch: bool = True
) -> ImageSet:
    """Read the images of a dataset, a shard, or a folder of image files; of clips, first frames.

    Of a set of more than 1,000 clips, the first frames of those that :func:`open_clips` opens are read.

    Args:
        name_or_path: Name of a packaged dataset, a path, or several of them with weights.
        resolution: Side in pixels; images are cropped to their central square and resized by area averaging.
        split: Split of a dataset: ``train``, ``val`` or ``all``.
        fetch: Whether shards at addresses may be downloaded.

    Raises:
        DataError: There are no such images, or they cannot be read.
    """
    import torch

    from builders.data.dataset_card import list_datasets
    from builders.data.image_folder import read_image_folder
    from builders.data.open import open_dataset
    from builders.data.recognition.folder_kind import folder_kind
    from builders.pixels import to_bytes

    if isinstance(name_or_path, str) and name_or_path not in list_datasets():
        path = Path(name_or_path)
        if path.is_dir() and folder_kind(path) == "images":
            images, _, fractional = read_image_folder(path, resolution)
            return ImageSet(path.resolve().name, "", images, resizing="area" * fractional)
    dataset = open_dataset(name_or_path, fetch=fetch)
    data = dataset.load(resolution, split)
    # Images of unknown class have the number of classes as their index.
    known = len(dataset.classes)
    counts = tuple(data.classes.bincount(minlength=known)[:known].tolist()) if known else None
    if data.card.frames > 1 and len(data) > MOST:  # as many first frames as there would be clips
        drawn = list(selected(data, MOST))
        images = torch.cat([to_bytes(batch["image"]) for batch in drawn])
        captions = tuple(caption for batch in drawn for caption in batch["caption"])
    else:
        images, captions = data.first(len(data))
    facts = (dataset.card.licence, counts, captions, dataset.classes, "area" * data.fractional)
    return ImageSet(dataset.card.name, split, images, *facts)


def open_reference(
    name_or_path: str | Mapping[str, float], size: Size, split: str = "train", *, fetch: bool = True
) -> ImageSet | ClipSet:
    """Open what a level of some size is compared with: images, or clips if it has several frames.

    Arguments and errors are those of :func:`open_images` and :func:`registry.evaluation.clip_sets.open_clips`.
    """
    if size.frames > 1:
        return open_clips(name_or_path, size, split, fetch=fetch)
    return open_images(name_or_path, size.side, split, fetch=fetch)
