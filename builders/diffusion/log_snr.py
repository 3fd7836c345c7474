"""Log signal-to-noise ratios of a schedule: log(g / (1 - g)) for alpha_bar g."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["index_at", "log_snr"]

#: How far beyond the ends of a schedule a ratio may be, for rounding.
TOLERANCE = 0.01


def log_snr(alpha_bar: Tensor) -> Tensor:
    """Return the log-SNR of a schedule in float64; infinite at the clean index."""
    g = alpha_bar.double()
    return torch.log(g) - torch.log1p(-g)


def index_at(alpha_bar: Tensor, value: float) -> tuple[int, float] | None:
    """Return the index of a schedule whose log-SNR is nearest to a value, and how far the value exceeds it.

    Args:
        alpha_bar: Schedule (steps + 1,), index 0 clean.
        value: Log-SNR.

    Returns:
        Index in 1..steps and difference, or None if the value is above or below all of the schedule's.
    """
    ratios = log_snr(alpha_bar)[1:]
    if not float(ratios[-1]) - TOLERANCE <= value <= float(ratios[0]) + TOLERANCE:
        return None
    place = int((ratios - value).abs().argmin())
    return place + 1, value - float(ratios[place])
