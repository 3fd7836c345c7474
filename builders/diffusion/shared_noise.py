"""Noise that levels share: the noisy image of a level as what can be seen of the one around it.

Averaged over squares of r x r pixels, the noisy image z_o of the level around has the signal of the inner level and
noise of deviation sigma_o / r. If SNR_i <= r^2 SNR_o, the inner level's z_i = alpha_i x_i + sigma_i eps_i is a multiple
of that average with some noise added. With eps_o, averaged and multiplied by r, which is standard normal,

    eps_i = rho r avg(eps_o) + sqrt(1 - rho^2) xi,    rho^2 = SNR_i / (r^2 SNR_o),

so that z_i = (alpha_i / alpha_o) avg(z_o) + sigma_i sqrt(1 - rho^2) xi. The ratio of the SNRs, and with it rho, is the
same at all times: with shift p, rho = r^(p / 2 - 1). With p = 2, z_i is the average of z_o itself (rho = 1), the
equivalence that arXiv 2301.11093 (section 3.1) derives its shift from. Equal noise, rho = 1, with a smaller p would
give the image away: z_i and avg(z_o) would be two different mixtures of the same image and the same noise.

Given z_o, z_i says nothing more about the image. A nested network therefore sees no more than a flat one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from builders.diffusion.process import seen_by
from specs.graph import EntryGraph

__all__ = ["share_noise", "share_z"]


def share_noise(eps: Sequence[Tensor], graph: EntryGraph) -> list[Tensor]:
    """Return the noise of every level, outermost first, from independent noise; unchanged if levels do not share it.

    Args:
        eps: Standard normal noise (rows, channels, height, width), or (rows, channels, frames, height, width) for
            clips. Rows that only inner levels have keep theirs.
        graph: Graph of the entry.
    """
    result = list(eps)
    if graph.process.noise != "shared":
        return result
    for index, correlation in enumerate(graph.noise_correlations, start=1):
        around, own, level = result[index - 1], result[index], graph.levels[index]
        seen = seen_by(around, level) * (around.shape[-1] // level.resolution)
        rows = len(around)
        mixed = correlation * seen + _rest(correlation) * own[:rows]
        result[index] = torch.cat([mixed, own[rows:]]) if rows < len(own) else mixed
    return result


def share_z(z: Sequence[Tensor], own: Sequence[Tensor], graph: EntryGraph, alpha_bar: Sequence[Tensor]) -> list[Tensor]:
    """Return noisy images of every level, outermost first, of which the inner ones follow from the outermost one.

    Args:
        z: Noisy images of every level; of inner levels, nothing is used if levels share their noise, and else all.
        own: Standard normal noise of each level, the xi of this module, in the same shapes.
        graph: Graph of the entry.
        alpha_bar: Schedule of each level at the time of ``z``, a scalar.
    """
    result = list(z)
    if graph.process.noise != "shared":
        return result
    for index, correlation in enumerate(graph.noise_correlations, start=1):
        g, g_around = alpha_bar[index], alpha_bar[index - 1]
        seen = (g / g_around).sqrt() * seen_by(result[index - 1], graph.levels[index])
        result[index] = seen + (1 - g).sqrt() * _rest(correlation) * own[index]
    return result


def _rest(correlation: float) -> float:
    """Return the deviation of the noise that a level has for itself."""
    return math.sqrt(max(0.0, 1 - correlation**2))
