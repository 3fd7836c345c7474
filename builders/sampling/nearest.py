"""Search for the training images nearest to samples."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from builders.pixels import to_float


def nearest_images(samples: Tensor, images: Tensor, chunk: int = 1024) -> tuple[Tensor, Tensor]:
    """Find the nearest training image of each sample, by the distance of their pixels.

    Args:
        samples: Samples (samples, channels, height, width) in [-1, 1].
        images: Training images (images, channels, height, width), uint8 in 0..255 or float in [-1, 1].
        chunk: Number of images to compare at a time.

    Returns:
        Indices (samples,) into ``images``, and root mean squared distances (samples,) of pixels in [-1, 1].

    Raises:
        ValueError: The images have another shape than the samples.
    """
    if samples.shape[1:] != images.shape[1:]:
        raise ValueError(
            f"samples of shape {tuple(samples.shape[1:])} are not comparable to images of {tuple(images.shape[1:])}"
        )
    flat = samples.detach().float().cpu().flatten(1)
    distances = []
    for part in images.split(chunk):
        values = part.cpu().float().flatten(1)
        values = to_float(values) if images.dtype == torch.uint8 else values
        squares = flat.square().sum(1)[:, None] + values.square().sum(1) - 2 * flat @ values.T
        distances.append(squares.clamp(min=0))
    best, indices = torch.cat(distances, 1).min(1)
    return indices, (best / flat.shape[1]).sqrt()


def nearest_to_levels(levels: Sequence[Tensor], images: Tensor) -> Tensor:
    """Find the nearest training image of each sample, at the lowest resolution.

    At the lowest resolution even a briefly trained model draws clear images. At the highest, remaining noise would
    decide.

    Args:
        levels: Samples (samples, channels, height, width) in [-1, 1] by level, highest resolution first.
        images: Training images (images, channels, height, width) uint8, with sides a multiple of the lowest level's.

    Returns:
        Indices (samples,) into ``images``.
    """
    lowest = levels[-1]
    side = images.shape[-1] // lowest.shape[-1]
    pooled = [functional.avg_pool2d(to_float(part), side) for part in images.split(512)]
    return nearest_images(lowest, torch.cat(pooled))[0]
