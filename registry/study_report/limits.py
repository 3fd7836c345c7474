"""Limits of the axes of charts with intervals, which may be infinite or much longer than what they are about."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

__all__ = ["Limits", "drawn", "limits_of"]

#: Longest visible part of an interval, as a multiple of the range of the values.
WIDEST = 1.5

#: Lower and upper limit of an axis.
Limits = tuple[float, float]


def limits_of(values: Sequence[float], ends: Sequence[float]) -> Limits | None:
    """Return limits of an axis that cut intervals which are infinite or very long; None if no end has to be cut.

    With few seeds, an interval may be a hundred times as long as the others, which would then be points.

    Args:
        values: What is drawn, at least one number.
        ends: Ends of all intervals.
    """
    known = [abs(end) for end in ends if isfinite(end)]
    room = WIDEST * (max(values) - min(values)) or max(known, default=0.0) or 1.0
    least, most = min(values) - room, max(values) + room
    if not ends or (min(ends) >= least and max(ends) <= most):
        return None
    margin = 0.05 * room
    return max(least, min(ends) - margin), min(most, max(ends) + margin)


def drawn(end: float, limits: Limits | None) -> float:
    """Return an end of an interval as it is drawn: an infinite one is replaced by one outside of the limits."""
    if isfinite(end) or limits is None:
        return end
    low, high = limits
    return low - (high - low) if end < 0 else high + (high - low)
