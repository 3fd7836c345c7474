"""DPM-Solver++ (2M): a second-order multistep solver in terms of the predicted clean image (arXiv 2211.01095)."""

from __future__ import annotations

import torch
from torch import Tensor

from builders.process import limit_x0, x0_from_v

__all__ = ["dpm_solver_step"]

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
        dynamic_threshold: see ``builders.process.limit_x0``.

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
