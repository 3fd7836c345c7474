"""Several tests at once: Holm's method (Holm 1979, Scandinavian Journal of Statistics 6, 65-70)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["holm_adjusted", "holm_adjusted_rows"]


def holm_adjusted(p_values: Sequence[float]) -> tuple[float, ...]:
    """Return the p values of a family of tests adjusted by Holm's method, in the same order.

    Rejecting where the adjusted value is at most 0.05 keeps the probability of any false rejection at 5 %. The k-th
    smallest of m values is multiplied by m - k + 1; values are at most 1, and in the order of the unadjusted ones.

    Args:
        p_values: The p values of all tests of the family; 1 for a test that could not be made.

    Raises:
        ValueError: A value is not between 0 and 1.
    """
    values = np.asarray(p_values, dtype=np.float64)
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError("p values are between 0 and 1")
    adjusted = holm_adjusted_rows(values[None])[0]
    return tuple(float(value) for value in adjusted)


def holm_adjusted_rows(values: np.ndarray) -> np.ndarray:
    """Return the adjusted p values of several families, (S, m)."""
    count = values.shape[1]
    order = values.argsort(1, kind="stable")
    scaled = np.take_along_axis(values, order, 1) * (count - np.arange(count))
    rising = np.maximum.accumulate(scaled, 1).clip(max=1.0) if count else scaled
    adjusted = np.empty_like(rising)
    np.put_along_axis(adjusted, order, rising, 1)
    return adjusted
