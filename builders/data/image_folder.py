"""Folders of plain image files, as tensors."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from builders.data.dataset_card import UnusedSplitsWarning
from builders.data.decoding import decode_image, fit
from builders.data.errors import DataError
from builders.data.recognition.folder_kind import SAMPLES, check_levels
from builders.data.recognition.formats import IMAGES, extension_of
from builders.data.recognition.left_out import LeftOutWarning
from builders.data.recognition.media import CLIP_OPTIONS, VIDEO
from builders.data.recognition.other_files import other_files
from builders.data.recognition.split_folders import find_splits
from builders.data.recognition.walk import walk
from builders.files import read_regular
from builders.resizing import is_fractional

__all__ = ["SAMPLES", "find_images", "read_image_folder", "read_images"]

#: Largest size of an image file in bytes.
MAX_FILE = 2**30


def find_images(folder: str | Path) -> tuple[Path, ...]:
    """Return all image files in a folder and its subfolders, sorted by path, without hidden files.

    Raises:
        DataError: There is no such folder, or it has no images.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    check_levels(folder)
    walked = walk(folder)
    found = tuple(folder / name for name in walked.files if extension_of(name) in IMAGES)
    if not found:
        if video := next((name for name in walked.files if VIDEO.names(name)), None):
            pack = f"zoo data pack {folder} FOLDER {CLIP_OPTIONS}"
            raise DataError(f"{folder}: holds videos (such as {video}), not images; pack them first: {pack}")
        raise DataError(f"{folder}: no images ({', '.join(IMAGES)}) in this folder")
    if lines := other_files(walked.files, walked.left_out).lines():
        warnings.warn(f"{folder}: left out {'; '.join(lines)}", LeftOutWarning, stacklevel=3)
    _warn_of_splits(folder, [path.relative_to(folder).as_posix() for path in found])
    return found


def _warn_of_splits(folder: Path, names: Sequence[str]) -> None:
    with contextlib.suppress(DataError):  # which folders are splits is not clear
        splits = find_splits(names, str(folder))
        if found := sorted({split for name in names if (split := splits.of(name)[0])}):
            text = f"{folder}: the images of its splits {', '.join(found)} are one set; give the folder of one split"
            warnings.warn(text, UnusedSplitsWarning, stacklevel=4)


def read_images(folder: str | Path, resolution: int | None = None) -> tuple[Tensor, tuple[str, ...]]:
    """Read a folder of images; see :func:`read_image_folder`."""
    images, names, _ = read_image_folder(folder, resolution)
    return images, names


def read_image_folder(folder: str | Path, resolution: int | None = None) -> tuple[Tensor, tuple[str, ...], bool]:
    """Read a folder of images.

    Args:
        folder: Folder to search, with its subfolders.
        resolution: Side in pixels that the center squares are resized to by area averaging. Default: images stay as
            they are, and must have one size.

    Returns:
        Images (N, 3, height, width) uint8, their paths relative to the folder, and whether any was made smaller by a
        factor that is no whole number.

    Raises:
        DataError: There is no such folder, it has no images, one is broken, or their sizes differ.
    """
    paths = find_images(folder)
    images: list[np.ndarray] = []
    fractional = False
    for path in paths:
        image = decode_image(read_regular(path, MAX_FILE), str(path))
        pixels = np.asarray(image) if resolution is None else fit(image, resolution)
        if images and pixels.shape != images[0].shape:
            first = "x".join(map(str, images[0].shape[1::-1]))
            raise DataError(
                f"{path}: {image.width}x{image.height} pixels, but {paths[0].name} has {first}; "
                "give a resolution to resize all images to"
            )
        images.append(pixels)
        side = min(image.size)
        fractional |= resolution is not None and is_fractional(side, side, (resolution, resolution))
    stacked = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()
    return stacked, tuple(str(path.relative_to(folder)) for path in paths), fractional
