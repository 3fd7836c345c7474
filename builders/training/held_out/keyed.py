"""Noise and times of a held-out sample, as functions of its key alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from builders.diffusion.offset_noise import add_offset
from builders.seeds import derived_seed, hashed_generator
from specs.schemas.held_out import LOG_SNRS

__all__ = ["keyed_noise", "keyed_points", "keyed_times"]

#: Step between the fixed log-SNRs that a sample visits; it has no factor in common with their number.
STRIDE = 5


def keyed_noise(
    keys: Sequence[str], label: str, channels: int, shape: Sequence[int], *draw: object, offset: float = 0.0
) -> Tensor:
    """Return the noise (samples, channels, ...) of a level, as a function of key, level and draw alone.

    Args:
        keys: Keys of the samples.
        label: Label of the level, such as ``r64``. The same sample has the same noise at the same size in any entry.
        channels: Channels of the level.
        shape: Shape of one channel, such as (height, width).
        draw: What tells this draw from other ones of the same sample.
        offset: Strength of the offset noise, which is added to the same noise of the pixels.
    """
    noise = torch.empty(len(keys), channels, *shape)
    for row, key in zip(noise, keys, strict=True):
        generator = hashed_generator("held-out noise", key, label, *draw)
        row.copy_(add_offset(torch.randn(row.shape, generator=generator), offset, generator))
    return noise


def keyed_times(keys: Sequence[str], draw: int, draws: int, seed: int = 0) -> Tensor:
    """Return a time for each sample, (samples,) float64 in [0, 1).

    The draws of a sample are evenly spaced from a random start, which lowers the variance of their mean.

    Args:
        keys: Keys of the samples.
        draw: Number of the draw, from 0.
        draws: Number of draws of each sample.
        seed: Seed of all starts.
    """
    starts = torch.tensor([derived_seed("held-out time", key, seed) for key in keys], dtype=torch.float64) / 2**63
    return ((starts.clamp(max=1 - 2**-53) + draw) / draws).clamp(max=1 - 2**-53)


def keyed_points(keys: Sequence[str], draw: int) -> list[int]:
    """Return which of the fixed log-SNRs each sample is measured at in a draw; they differ between up to 12 draws."""
    count = len(LOG_SNRS)
    return [(derived_seed("held-out point", key) + STRIDE * draw) % count for key in keys]
