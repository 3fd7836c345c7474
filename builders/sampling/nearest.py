"""The training images nearest to samples."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from builders.pixels import to_float


def nearest_images(samples: Tensor, images: Tensor, chunk: int = 1024) -> tuple[Tensor, Tensor]:
    """For each sample the training image that is nearest in pixels.

    Args:
        samples: (B, channels, height, width) in [-1, 1].
        images: (N, channels, height, width), uint8 in 0..255 or float in [-1, 1].
        chunk: images compared at a time.

    Returns:
        Indices (B,) into ``images``, and root mean squared distances (B,) in units of the range [-1, 1].

    Raises:
        ValueError: the images are of another size.
    """
    if samples.shape[1:] != images.shape[1:]:
        raise ValueError(
            f"samples of {tuple(samples.shape[1:])} are not comparable to images of {tuple(images.shape[1:])}"
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
    """For each sample the training image that is nearest at the lowest resolution.

    There even a model that was trained for minutes draws clearly; at the highest, noise that is left would decide.

    Args:
        levels: samples (B, channels, H_r, W_r) in [-1, 1] by level, highest resolution first.
        images: (N, channels, H, W) uint8, sides a multiple of the lowest level's.

    Returns:
        Indices (B,) into ``images``.
    """
    lowest = levels[-1]
    side = images.shape[-1] // lowest.shape[-1]
    pooled = [functional.avg_pool2d(to_float(part), side) for part in images.split(512)]
    return nearest_images(lowest, torch.cat(pooled))[0]
