"""Offset noise: a random constant for each channel of an image, beside the noise of each pixel.

With strength s, the noise of a level is n + s d, where n is standard normal for each pixel and d for each channel (and
common to all frames of a clip). Noise of a pixel hardly hides the mean colour of many pixels, so that networks learn to
read it from the noisy image and draw samples of medium brightness; the constant hides it (Guttenberg 2023,
https://www.crosslabs.org/blog/diffusion-with-offset-noise; Kutsuna, arXiv 2412.03134).

The noise has the same covariance at all times, in the first image of a sampler and in the noise that samplers add, so
that the equations of the process and of the samplers hold as they are.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["add_offset"]


def add_offset(noise: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Return the noise of one image or clip with a random constant for each channel; without strength, as it is.

    Args:
        noise: Standard normal noise, (channels, height, width), or (channels, frames, height, width) for clips.
        strength: Standard deviation of the constants.
        generator: Source of the constants. Nothing is drawn from it if the strength is 0.
    """
    if strength == 0:
        return noise
    constants = torch.randn(noise.shape[0], generator=generator)
    return noise + strength * constants.reshape(-1, *[1] * (noise.dim() - 1))
