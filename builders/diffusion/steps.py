"""Reverse steps: DDIM, DDPM, and DPM-Solver++ (2M), each from one time index to an earlier one."""

from __future__ import annotations

import torch
from torch import Tensor

from builders.diffusion.process import Number, _rows, x0_from_v


def limit_x0(x0: Tensor, clip: bool = True, dynamic_threshold: float | None = None) -> Tensor:
    """Clip to [-1, 1]; or divide each image by its quantile of magnitudes where that is above one.

    Args:
        x0: predicted clean images.
        clip: whether to clip at all.
        dynamic_threshold: the quantile, such as 0.995 (arXiv 2205.11487, section 2.3); None for plain clipping.
    """
    if not clip:
        return x0
    if dynamic_threshold is None:
        return x0.clamp(-1, 1)
    limit = torch.quantile(x0.float().abs().flatten(1), dynamic_threshold, dim=1).clamp(min=1)
    limit = _rows(limit, x0)
    return x0.clamp(-limit, limit) / limit


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
    """One DDIM step from index t to an earlier index s (arXiv 2010.02502, equations 12 and 16).

    After x0 is limited, eps is computed from it again.

    Args:
        z: noisy images at t.
        v: predictions.
        alpha_bar_t: schedule at t.
        alpha_bar_s: schedule at s.
        eta: 0 for the deterministic sampler, 1 for ancestral noise.
        noise: standard normal noise in the shape of ``z``, needed where ``eta`` is not 0.
        clip: limit x0 to [-1, 1].
        dynamic_threshold: see ``limit_x0``.

    Returns:
        Noisy images at s, and the predicted clean images.
    """
    g_t, g_s = _rows(alpha_bar_t, z), _rows(alpha_bar_s, z)
    x0 = limit_x0(x0_from_v(z, v, g_t), clip, dynamic_threshold)
    eps = (z - g_t.sqrt() * x0) / (1 - g_t).sqrt()
    if eta == 0:
        return g_s.sqrt() * x0 + (1 - g_s).sqrt() * eps, x0
    if noise is None:
        raise ValueError("ddim_step needs noise where eta is not 0")
    variance = eta**2 * (1 - g_s) / (1 - g_t) * (1 - g_t / g_s)
    kept = (1 - g_s - variance).clamp(min=0).sqrt()
    return g_s.sqrt() * x0 + kept * eps + variance.sqrt() * noise, x0


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
    """One step of the DDPM posterior from index t to s (arXiv 2006.11239, equation 7); its mean without noise.

    Arguments and result as ``ddim_step``.
    """
    g_t, g_s = _rows(alpha_bar_t, z), _rows(alpha_bar_s, z)
    x0 = limit_x0(x0_from_v(z, v, g_t), clip, dynamic_threshold)
    alpha = g_t / g_s
    mean = g_s.sqrt() * (1 - alpha) / (1 - g_t) * x0 + alpha.sqrt() * (1 - g_s) / (1 - g_t) * z
    if noise is None:
        return mean, x0
    return mean + ((1 - g_s) / (1 - g_t) * (1 - alpha)).clamp(min=0).sqrt() * noise, x0


#: A clean image predicted at an earlier index, and the schedule there.
Memory = tuple[Tensor, Tensor]


def _half_log_snr(alpha_bar: Tensor) -> Tensor:
    """lambda = log(sqrt(g) / sqrt(1 - g)), in float64: the two ends of a schedule are extreme."""
    g = alpha_bar.double()
    return 0.5 * (torch.log(g) - torch.log1p(-g))


def dpm_solver_step(
    z: Tensor,
    v: Tensor,
    alpha_bar_t: Tensor,
    alpha_bar_s: Tensor,
    previous: Memory | None = None,
    *,
    clip: bool = True,
    dynamic_threshold: float | None = None,
) -> tuple[Tensor, Tensor]:
    """One step from index t to an earlier index s (arXiv 2211.01095, algorithm 2).

    With lambda half the log signal-to-noise ratio, h = lambda_s - lambda_t and r = h_before / h, the clean image is
    extrapolated, D = (1 + 1 / 2r) x0 - 1 / 2r x0_before, and
    z_s = sigma_s / sigma_t z - sqrt(g_s) (exp(-h) - 1) D. Without an earlier prediction, and in the step to a clean
    image, D = x0, which is DDIM.

    Args:
        z: noisy images (batch, ...) at t.
        v: predictions at t.
        alpha_bar_t: the level's schedule at t, a scalar tensor.
        alpha_bar_s: the level's schedule at s.
        previous: clean images predicted in the step before, and the schedule there.
        clip: limit x0 to [-1, 1].
        dynamic_threshold: see ``builders.diffusion.steps.limit_x0``.

    Returns:
        Noisy images at s, and the predicted clean images.
    """
    x0 = limit_x0(x0_from_v(z, v, alpha_bar_t), clip, dynamic_threshold)
    if alpha_bar_s >= 1:
        return x0, x0
    lambda_t, lambda_s = _half_log_snr(alpha_bar_t), _half_log_snr(alpha_bar_s)
    h = lambda_s - lambda_t
    estimate = x0
    if previous is not None:
        before, alpha_bar_before = previous
        ratio = float((lambda_t - _half_log_snr(alpha_bar_before)) / h)
        estimate = x0 + (x0 - before) / (2 * ratio)
    shrink = ((1 - alpha_bar_s.double()) / (1 - alpha_bar_t.double())).sqrt()
    factor = -alpha_bar_s.double().sqrt() * torch.expm1(-h)
    return (float(shrink) * z + float(factor) * estimate).to(z.dtype), x0
