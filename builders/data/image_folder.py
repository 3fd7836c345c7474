"""Plain image files in a folder, as tensors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from builders.data.decoding import decode_image, fit
from builders.data.errors import DataError
from builders.data.shards import IMAGES

__all__ = ["SAMPLES", "find_images", "read_images"]

#: What a folder of samples of all levels holds beside them.
SAMPLES = "samples.json"


def find_images(folder: str | Path) -> tuple[Path, ...]:
    """All PNG, WebP and JPEG files in a folder and the folders in it, sorted by path; hidden ones are passed over.

    Raises:
        DataError: there is no such folder, or no image in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    if (folder / SAMPLES).is_file():
        levels = [child.name for child in sorted(folder.iterdir()) if child.is_dir()]
        such = f", such as {folder / levels[-1]}" if levels else ""
        raise DataError(f"{folder}: holds samples at several resolutions; give the folder of one level{such}")
    found = tuple(
        sorted(
            path
            for path in folder.rglob("*")
            if path.suffix.lower().lstrip(".") in IMAGES and path.is_file() and not path.name.startswith(".")
        )
    )
    if not found:
        raise DataError(f"{folder}: no images ({', '.join(IMAGES)}) in this folder")
    return found


def read_images(folder: str | Path, resolution: int | None = None) -> tuple[Tensor, tuple[str, ...]]:
    """Read a folder of images.

    Args:
        folder: searched with all folders in it.
        resolution: side in pixels to bring the central squares to, by area averaging; by default images stay as they
            are and must all be of one size.

    Returns:
        Images (N, 3, height, width) uint8, and their paths relative to the folder.

    Raises:
        DataError: no such folder, no image, one that is broken, or images of different sizes.
    """
    paths = find_images(folder)
    images: list[np.ndarray] = []
    for path in paths:
        image = decode_image(path.read_bytes(), str(path))
        pixels = np.asarray(image) if resolution is None else fit(image, resolution)
        if images and pixels.shape != images[0].shape:
            first = "x".join(map(str, images[0].shape[1::-1]))
            raise DataError(
                f"{path}: {image.width}x{image.height} pixels, but {paths[0].name} has {first}; "
                "give a resolution to bring all images to"
            )
        images.append(pixels)
    stacked = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()
    return stacked, tuple(str(path.relative_to(folder)) for path in paths)
