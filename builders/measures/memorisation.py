"""Whether samples are copies of training images: distances to the nearest ones, beside those of held-out images."""

from __future__ import annotations

import torch
from torch import Tensor

from builders.pixels import to_float
from builders.sampling.nearest import nearest_images

__all__ = ["nearest_facts"]

#: Share of the held-out images that are nearer to a training image than the limit for samples.
CLOSE = 0.05


def nearest_facts(samples: Tensor, training: Tensor, held_out: Tensor) -> dict[str, float]:
    """Compare the distances of samples to their nearest training images with those of held-out images.

    Distances are root mean squares over the pixels in [-1, 1].

    Args:
        samples: Samples (samples, channels, height, width), uint8.
        training: Training images of that shape, uint8.
        held_out: Held-out images of that shape, uint8, which the training images do not contain.

    Returns:
        ``nearest``, the median distance of samples; ``nearest_held_out``, that of held-out images; ``close``, the share
        of samples that are nearer to a training image than 95 % of the held-out images are. Of samples that are as
        new as held-out images, it is 0.05.
    """
    found = nearest_images(to_float(samples), training)[1]
    usual = nearest_images(to_float(held_out), training)[1]
    limit = torch.quantile(usual, CLOSE)
    return {
        "nearest": float(found.median()),
        "nearest_held_out": float(usual.median()),
        "close": float((found < limit).double().mean()),
    }
