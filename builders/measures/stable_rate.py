"""The largest learning rate at which training is stable."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

__all__ = ["is_stable", "largest_stable"]

#: Share of the steps, at the end, whose mean loss decides.
END = 0.25
#: Largest mean loss at the end, relative to that of the first step, in which the network predicts zeros.
PROGRESS = 0.9


def is_stable(losses: Sequence[float], steps: int) -> bool:
    """Return whether a short run was stable: it took all steps, and learned more than to predict zeros.

    A fresh network predicts zeros, so its first loss is that of having learned nothing. Runs that diverge end at this
    loss or above it, since clipping and Adam bound their steps.

    Args:
        losses: Loss of each step that was taken.
        steps: Number of steps that the run should have.
    """
    if len(losses) < steps or not all(map(math.isfinite, losses)):
        return False
    end = losses[-max(1, round(END * steps)) :]
    return sum(end) / len(end) < PROGRESS * losses[0]


def largest_stable(rates: Sequence[float], stable: Callable[[float], bool]) -> float | None:
    """Return the largest rate at which training is stable, by bisection; None if it is not stable at any.

    Training is taken to be stable at every rate below a stable one. N rates take log2(N + 1) runs, rounded up.

    Args:
        rates: Rates in ascending order.
        stable: Function that trains at a rate and returns whether this was stable.

    Raises:
        ValueError: The rates are not ascending.
    """
    if not rates or any(one >= other for one, other in pairwise(rates)):
        raise ValueError(f"rates must ascend: {', '.join(f'{rate:g}' for rate in rates)}")
    low, high = 0, len(rates)  # rates before ``low`` are stable, those from ``high`` are not
    while low < high:
        middle = (low + high) // 2
        if stable(rates[middle]):
            low = middle + 1
        else:
            high = middle
    return rates[low - 1] if low else None
