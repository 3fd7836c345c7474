"""Reverse steps of DDIM, DDPM and DPM-Solver++ (2M), each from an index t of the schedule to an earlier index s.

In all functions, images have the shape (batch, channels, height, width), and clips the shape (batch, channels, frames,
height, width).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from builders.diffusion.process import Number, per_row, x0_from_v


def limit_x0(x0: Tensor, clip: bool = True, dynamic_threshold: float | None = None) -> Tensor:
    """Limit predicted images to [-1, 1].

    Args:
        x0: Predicted clean images (batch, channels, height, width) or clips (batch, channels, frames, height, width).
        clip: Whether to limit them at all.
        dynamic_threshold: Quantile of the magnitudes of each image or clip, such as 0.995, by which it is clipped and
            divided if it is above 1 (arXiv 2205.11487, section 2.3). All frames of a clip have one quantile, because a
            quantile per frame would flicker. None for clipping to [-1, 1].
    """
    if not clip:
        return x0
    if dynamic_threshold is None:
        return x0.clamp(-1, 1)
    limit = per_row(_quantile(x0.float().abs().flatten(1), dynamic_threshold).clamp(min=1), x0)
    return x0.clamp(-limit, limit) / limit


#: Largest number of values of which ``torch.quantile`` takes a quantile.
MOST_VALUES = 2**24


def _quantile(values: Tensor, q: float) -> Tensor:
    """Return the quantile of each row (rows, values), interpolated linearly: (rows,)."""
    if values.numel() <= MOST_VALUES:
        return torch.quantile(values, q, dim=1)
    place = q * (values.shape[1] - 1)
    low = int(place)
    ends = [values.kthvalue(min(rank, values.shape[1] - 1) + 1, dim=1).values for rank in (low, low + 1)]
    return torch.lerp(ends[0], ends[1], place - low)


def ddim_step(
    z: Tensor,
    v: Tensor,
    alpha_bar_t: Number,
    alpha_bar_s: Number,
    *,
    eta: float = 0.0,
    noise: Tensor | None = None,
    clip: bool = True,
    dynamic_threshold: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Take a DDIM step from index t to an earlier index s (arXiv 2010.02502, equations 12 and 16).

    After x0 is limited, eps is computed from it again.

    Args:
        z: Noisy images (batch, channels, height, width) at t.
        v: Predictions in the same shape.
        alpha_bar_t: Schedule at t.
        alpha_bar_s: Schedule at s.
        eta: Amount of noise, 0 for the deterministic sampler, 1 for that of DDPM.
        noise: Standard normal noise in the shape of ``z``, needed if ``eta`` is not 0.
        clip: Whether to limit x0 to [-1, 1].
        dynamic_threshold: Quantile to limit x0 by instead, as in :func:`limit_x0`.

    Returns:
        Noisy images at s, and the predicted clean images.

    Raises:
        ValueError: ``eta`` is not 0 and there is no noise.
    """
    g_t, g_s = per_row(alpha_bar_t, z), per_row(alpha_bar_s, z)
    x0 = limit_x0(x0_from_v(z, v, g_t), clip, dynamic_threshold)
    eps = (z - g_t.sqrt() * x0) / (1 - g_t).sqrt()
    if eta == 0:
        return g_s.sqrt() * x0 + (1 - g_s).sqrt() * eps, x0
    if noise is None:
        raise ValueError("ddim_step needs noise if eta is not 0")
    variance = eta**2 * (1 - g_s) / (1 - g_t) * (1 - g_t / g_s)
    direction = (1 - g_s - variance).clamp(min=0).sqrt() * eps
    return g_s.sqrt() * x0 + direction + variance.sqrt() * noise, x0


def ddpm_step(
    z: Tensor,
    v: Tensor,
    alpha_bar_t: Number,
    alpha_bar_s: Number,
    *,
    noise: Tensor | None = None,
    clip: bool = True,
    dynamic_threshold: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Take a step of the DDPM posterior from index t to s (arXiv 2006.11239, equation 7), or its mean without noise.

    With fewer steps than the schedule has, it is the posterior over the skipped steps. Arguments and result are those
    of :func:`ddim_step`.
    """
    g_t, g_s = per_row(alpha_bar_t, z), per_row(alpha_bar_s, z)
    x0 = limit_x0(x0_from_v(z, v, g_t), clip, dynamic_threshold)
    alpha = g_t / g_s
    mean = g_s.sqrt() * (1 - alpha) / (1 - g_t) * x0 + alpha.sqrt() * (1 - g_s) / (1 - g_t) * z
    if noise is None:
        return mean, x0
    return mean + ((1 - g_s) / (1 - g_t) * (1 - alpha)).clamp(min=0).sqrt() * noise, x0


#: Clean images predicted at an earlier index, and the schedule there.
Memory = tuple[Tensor, Tensor | float]


def _half_log_snr(g: float) -> float:
    """Return lambda = log(sqrt(g) / sqrt(1 - g)), which is extreme at both ends of a schedule."""
    return 0.5 * (math.log(g) - math.log1p(-g)) if g > 0 else -math.inf


def dpm_solver_step(
    z: Tensor,
    v: Tensor,
    alpha_bar_t: Tensor | float,
    alpha_bar_s: Tensor | float,
    previous: Memory | None = None,
    *,
    clip: bool = True,
    dynamic_threshold: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Take a step of DPM-Solver++ (2M) from index t to an earlier index s (arXiv 2211.01095, algorithm 2).

    With lambda half the log signal-to-noise ratio, h = lambda_s - lambda_t and r = h_before / h, the clean image is
    extrapolated, D = (1 + 1 / 2r) x0 - 1 / 2r x0_before, and
    z_s = sigma_s / sigma_t z - sqrt(g_s) (exp(-h) - 1) D. Without an earlier prediction, and in the step to a clean
    image, D = x0, which is DDIM. The factors are computed on the host in float64. A schedule given as tensors of a GPU
    is read from it, which waits for the GPU; numbers avoid this.

    Args:
        z: Noisy images (batch, channels, height, width) at t.
        v: Predictions in the same shape.
        alpha_bar_t: Schedule at t, a number or a scalar tensor.
        alpha_bar_s: Schedule at s, likewise.
        previous: Clean images predicted in the step before, and the schedule there.
        clip: Whether to limit x0 to [-1, 1].
        dynamic_threshold: Quantile to limit x0 by instead, as in :func:`limit_x0`.

    Returns:
        Noisy images at s, and the predicted clean images.
    """
    g_t, g_s = float(alpha_bar_t), float(alpha_bar_s)
    x0 = limit_x0(x0_from_v(z, v, alpha_bar_t), clip, dynamic_threshold)
    if g_s >= 1:
        return x0, x0
    lambda_t = _half_log_snr(g_t)
    h = _half_log_snr(g_s) - lambda_t
    estimate = x0
    if previous is not None:
        before, g_before = previous
        h_before = lambda_t - _half_log_snr(float(g_before))
        if h > 0 and h_before > 0:  # rounding can make neighbouring values of a schedule equal
            estimate = x0 + (x0 - before) / (2 * (h_before / h))
    shrink, factor = math.sqrt((1 - g_s) / (1 - g_t)), -math.sqrt(g_s) * math.expm1(-h)
    return (shrink * z + factor * estimate).to(z.dtype), x0
