"""Distributions of the noise times of training, by numbers that are uniform in [0, 1)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from builders.diffusion.log_snr import log_snr
from specs.schemas.times import TimesSpec

__all__ = ["cumulative_shares", "evenly_spread", "time_indices_of"]


def time_indices_of(u: Tensor, spec: TimesSpec, alpha_bar: Tensor, rows: Sequence[int], start: float) -> Tensor:
    """Return the time index of each row of a batch, (rows,) int64.

    Args:
        u: Independent numbers in [0, 1), (rows,) float64.
        spec: Distribution of the times. Those of "stratified" times are spread evenly over the batch, from a start that
            is random for each step (arXiv 2107.00630, appendix I.1).
        alpha_bar: Schedule (steps + 1,) of the level whose log-SNR counts.
        rows: Number of each row in the whole batch, from 0.
        start: Random number in [0, 1) of the step, for "stratified".
    """
    steps = len(alpha_bar) - 1
    if spec.distribution in ("uniform", "stratified"):
        even = evenly_spread(rows, start) if spec.distribution == "stratified" else u
        return (even * steps).long().clamp(max=steps - 1)
    found = torch.searchsorted(cumulative_shares(spec, alpha_bar), u.double().contiguous(), right=True)
    return found.clamp(max=steps - 1)


def evenly_spread(rows: Sequence[int], start: float) -> Tensor:
    """Return numbers in [0, 1) that the first rows of a batch, of any number, share out evenly: (rows,) float64.

    They are the van der Corput sequence in base 2, moved by ``start`` modulo 1: outer levels use the first rows only.

    Args:
        rows: Number of each row, from 0.
        start: Number in [0, 1).
    """
    places = []
    for row in rows:
        place, half = 0.0, 0.5
        while row:
            place += half * (row & 1)
            row, half = row >> 1, half / 2
        places.append(place)
    return (torch.tensor(places, dtype=torch.float64) + start) % 1


def cumulative_shares(spec: TimesSpec, alpha_bar: Tensor) -> Tensor:
    """Return the probability of each time index and all lower ones, (steps,) float64.

    With "logit_normal", the logit of the time t in (0, 1) is normal (arXiv 2403.03206, section 3.1); index i holds the
    times from i / steps to (i + 1) / steps. With "logsnr", the log-SNR is normal (arXiv 2206.00364, section 5) within
    the schedule; an index holds the ratios nearest to its own.

    Args:
        spec: Distribution with a mean and a deviation.
        alpha_bar: Schedule (steps + 1,), index 0 clean.
    """
    assert spec.mean is not None and spec.std is not None
    steps = len(alpha_bar) - 1
    if spec.distribution == "logit_normal":
        return _below((torch.logit(torch.arange(1, steps + 1).double() / steps) - spec.mean) / spec.std)
    ratios = log_snr(alpha_bar)[1:]
    middles = (ratios[1:] + ratios[:-1]) / 2
    # From clean to noisy, the ratios fall: those above a border belong to lower indices.
    above = _below((spec.mean - torch.cat([ratios[:1], middles, ratios[-1:]])) / spec.std)
    total = above[-1] - above[0]
    if total <= 0:  # the schedule has no such ratios; its nearest end is as near as can be
        return torch.full((steps,), float(spec.mean > ratios[0]), dtype=torch.float64).index_fill_(
            0, torch.tensor([steps - 1]), 1.0
        )
    return (above[1:] - above[0]) / total


def _below(value: Tensor) -> Tensor:
    """Return the probability that a standard normal number is below a value."""
    return 0.5 * torch.erfc(-value / math.sqrt(2))
