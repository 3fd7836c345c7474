"""Noise schedules, their shift with the resolution, and the weights of losses computed from them.

A schedule is ``alpha_bar`` (steps + 1,) float32, usually with 1000 steps: index 0 is clean, the last index is noise.
The time index of a network is the index of the schedule minus one.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from specs.schemas.noise import process_problem

__all__ = [
    "SCHEDULES",
    "half_log_snr",
    "log_snr_slope",
    "min_snr_weight",
    "noise_schedule",
    "shift_schedule",
    "sigmoid_weight",
    "signal_to_noise",
    "soft_min_snr_weight",
    "vdm_weight",
]

MAX_BETA = 0.999


def _cosine_betas(steps: int) -> Tensor:
    """Return the betas (steps,) of Nichol and Dhariwal, arXiv 2102.09672, equation 17."""
    position = torch.arange(steps + 1, dtype=torch.float64) / steps
    alpha_bar = torch.cos((position + 0.008) / 1.008 * math.pi / 2) ** 2
    return (1 - alpha_bar[1:] / alpha_bar[:-1]).clamp(max=MAX_BETA)


def _linear_betas(steps: int) -> Tensor:
    """Return the betas (steps,) of Ho et al., arXiv 2006.11239, section 4, times 1000 / steps.

    The paper has 1000 steps. With the factor, any number of steps ends at about the same noise.
    """
    scale = 1000 / steps
    return torch.linspace(1e-4 * scale, 0.02 * scale, steps, dtype=torch.float64).clamp(max=MAX_BETA)


def _cosine_log_snr(steps: int) -> Tensor:
    """Return the log-SNR (steps,) of Hoogeboom et al., arXiv 2301.11093, equation 3, from 5 to -5."""
    first, last = math.atan(math.exp(-2.5)), math.atan(math.exp(2.5))
    # A single step is the noisiest one.
    position = torch.arange(steps, dtype=torch.float64) / (steps - 1) if steps > 1 else torch.ones(1).double()
    angle = first + position * (last - first)
    return -2 * torch.log(torch.tan(angle))


#: Names of the base schedules.
SCHEDULES = ("cosine", "linear", "cosine_logsnr")


def noise_schedule(name: str, ratio: float = 1, power: float = 1, steps: int = 1000) -> Tensor:
    """Return the schedule ``alpha_bar`` of a level, (steps + 1,) float32, index 0 clean.

    Args:
        name: Base schedule: "cosine", "linear" or "cosine_logsnr".
        ratio: Ratio of the level to the innermost one, (N / n) sqrt(F / f) for N and n pixels, F and f frames.
        power: Power of the shift: the base signal-to-noise ratio is divided by ``ratio ** power``.
        steps: Number of steps.

    Raises:
        ValueError: There is no such schedule, or a number is out of range.
    """
    if not (ratio > 0 and math.isfinite(ratio) and math.isfinite(power) and steps >= 1):
        raise ValueError(f"a schedule needs ratio > 0, a finite power and steps >= 1, not {ratio}, {power}, {steps}")
    problem = process_problem(name, steps, ratio, power)
    if problem is not None:
        raise ValueError(problem[1])
    if name in ("cosine", "linear"):
        betas = _cosine_betas(steps) if name == "cosine" else _linear_betas(steps)
        alpha_bar = torch.exp(torch.log1p(-betas).cumsum(0))
    elif name == "cosine_logsnr":
        alpha_bar = torch.sigmoid(_cosine_log_snr(steps))
    else:
        raise ValueError(f"no noise schedule '{name}'; choose one of {', '.join(SCHEDULES)}")
    base = torch.cat([torch.ones(1, dtype=torch.float64), alpha_bar]).float()
    return shift_schedule(base, ratio, power)


def shift_schedule(alpha_bar: Tensor, ratio: float, power: float) -> Tensor:
    """Divide the signal-to-noise ratio by ``ratio ** power``: g becomes g / (g + (1 - g) ratio ** power)."""
    factor = float(ratio) ** float(power)
    if factor == 1:
        return alpha_bar
    return alpha_bar / (alpha_bar + (1 - alpha_bar) * factor)


def signal_to_noise(alpha_bar: Tensor) -> Tensor:
    """Return SNR = g / (1 - g), which is infinite at the clean index."""
    return alpha_bar / (1 - alpha_bar)


def half_log_snr(alpha_bar: Tensor) -> Tensor:
    """Return half the log signal-to-noise ratio, log(sqrt(g) / sqrt(1 - g)), in float64.

    It is finite: 1 - g, which is 0 at index 0, counts as at least half the epsilon of float32, and g as at least 1e-30.
    """
    g = alpha_bar.double()
    return 0.5 * (g.clamp(min=1e-30).log() - (1 - g).clamp(min=torch.finfo(torch.float32).eps / 2).log())


def vdm_weight(alpha_bar: Tensor) -> Tensor:
    """Return the weight of the eps loss in the variational bound, snr[i - 1] / snr[i] - 1.

    From arXiv 2107.00630, equation 14. Indices 0 and 1, where the ratio is infinite, have the weight of index 2, or 1
    if the schedule has a single step.
    """
    snr = signal_to_noise(alpha_bar.float())
    weight = torch.ones_like(snr)
    if len(snr) < 3:
        return weight
    weight[2:] = snr[1:-1] / snr[2:] - 1
    weight[:2] = weight[2]
    return weight


def min_snr_weight(alpha_bar: Tensor, gamma: float = 5.0) -> Tensor:
    """Return the weight of the eps loss min(SNR, gamma) / SNR (arXiv 2303.09556, section 3.4)."""
    snr = signal_to_noise(alpha_bar.float())
    return torch.where(snr > gamma, gamma / snr, torch.ones_like(snr))


def soft_min_snr_weight(alpha_bar: Tensor, gamma: float = math.exp(2)) -> Tensor:
    """Return the weight of the eps loss gamma / (SNR + gamma), a smooth min-SNR (arXiv 2401.11605)."""
    return torch.sigmoid(math.log(gamma) - torch.logit(alpha_bar.float()))


def log_snr_slope(alpha_bar: Tensor) -> Tensor:
    """Return how fast the log-SNR falls, -d(log SNR)/dt at t = index / steps: (steps + 1,) float32.

    It is computed from differences of the angle a with cos(a)^2 = alpha_bar, which is finite at both ends, as the
    log-SNR is not. The slope at index 0 is infinite.
    """
    g = alpha_bar.double()
    steps = len(g) - 1
    angle = torch.atan2((1 - g).sqrt(), g.sqrt())
    # Index 0 is clean in any schedule, which may jump to index 1.
    noisy = angle[1:] if steps > 1 else angle
    speed = torch.gradient(noisy, spacing=1 / steps)[0]
    slope = 2 * speed[-steps:] / (g[1:] * (1 - g[1:])).sqrt()
    return torch.cat([slope.new_tensor([math.inf]), slope]).float()


def sigmoid_weight(alpha_bar: Tensor, bias: float = 2.0) -> Tensor:
    """Return the weight of the eps loss sigmoid(bias - log SNR) times -d(log SNR)/dt.

    The weighted loss of Kingma and Gao (arXiv 2303.00848, section 2) is the mean over uniform times t of
    w(log SNR) (-d(log SNR)/dt) and the squared error in eps. Its weight w by log-SNR therefore does not depend on the
    schedule. That of Hoogeboom et al. (arXiv 2410.19324) is sigmoid(bias - log SNR). The weight at index 0 is 0, its
    limit at infinite log-SNR.

    Args:
        alpha_bar: Schedule (steps + 1,), index 0 clean.
        bias: Log-SNR at which w is 1/2; larger values give lower noise more weight.
    """
    by_log_snr = torch.sigmoid(bias - torch.logit(alpha_bar.float()))
    return (by_log_snr * log_snr_slope(alpha_bar)).nan_to_num(nan=0.0)
