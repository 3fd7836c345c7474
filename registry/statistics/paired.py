"""Two arms of a study compared over the seeds that both have."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from registry.statistics.holm import holm_adjusted
from registry.statistics.intervals import Estimate, mean_interval, percent_interval
from registry.statistics.sign_flips import Alternative, sign_flip_test

__all__ = ["PairedComparison", "Scale", "adjusted_p_values", "compare_pairs"]

Scale = Literal["linear", "log"]


@dataclass(frozen=True, slots=True)
class PairedComparison:
    """A measure of two arms, compared over seeds.

    Attributes:
        seeds: Seeds of the pairs.
        first: Mean of the first arm over these seeds; on the log scale the geometric mean.
        second: Mean of the second arm.
        difference: Mean of first minus second, with its 95 % interval; on the log scale of the logarithms.
        percent: By how many per cent the first mean is above the second, with its interval; None if the second arm has
            values that are not above 0.
        p_value: Of the sign-flip test of the differences.
    """

    seeds: tuple[int, ...]
    first: float
    second: float
    difference: Estimate
    percent: Estimate | None
    p_value: float


def compare_pairs(
    first: Mapping[int, float],
    second: Mapping[int, float],
    alternative: Alternative = "two-sided",
    scale: Scale = "linear",
) -> PairedComparison | None:
    """Compare two arms over the seeds for which both have a finite value; None if there is no such seed.

    Args:
        first: Values of the first arm by seed.
        second: Values of the second arm by seed.
        alternative: Sign of first minus second under the alternative hypothesis.
        scale: Whether differences are of the values or of their logarithms.

    Raises:
        ValueError: A value on the log scale is not above 0.
    """
    seeds = tuple(seed for seed in sorted(first.keys() & second.keys()) if _finite(first[seed], second[seed]))
    if not seeds:
        return None
    one, other = (np.array([arm[seed] for seed in seeds], dtype=np.float64) for arm in (first, second))
    if scale == "log":
        return _on_log_scale(seeds, one, other, alternative)
    return PairedComparison(
        seeds=seeds,
        first=float(one.mean()),
        second=float(other.mean()),
        difference=mean_interval(one - other),
        percent=percent_interval(one, other) if other.min() > 0 else None,
        p_value=sign_flip_test(one - other, alternative),
    )


def _on_log_scale(
    seeds: tuple[int, ...], first: np.ndarray, second: np.ndarray, alternative: Alternative
) -> PairedComparison:
    if min(first.min(), second.min()) <= 0:
        raise ValueError("values on the log scale must be above 0")
    one, other = np.log(first), np.log(second)
    difference = mean_interval(one - other)
    ends = (None if end is None else _in_per_cent(end) for end in (difference.low, difference.high))
    percent = Estimate(_in_per_cent(difference.value), *ends)
    p_value = sign_flip_test(one - other, alternative)
    return PairedComparison(seeds, math.exp(one.mean()), math.exp(other.mean()), difference, percent, p_value)


def _in_per_cent(logarithm: float) -> float:
    """Return the difference in per cent of a difference of logarithms; infinity where it has no float."""
    with np.errstate(over="ignore"):
        return float(100 * np.expm1(logarithm))


def adjusted_p_values(comparisons: Sequence[PairedComparison | None]) -> tuple[float | None, ...]:
    """Return the p values of a family of comparisons after Holm's adjustment, in the same order.

    Args:
        comparisons: All comparisons of the family. One that could not be made is None. It counts as one that is not
            significant, so that leaving out runs makes no other comparison more significant; its value is None.
    """
    adjusted = holm_adjusted([1.0 if each is None else each.p_value for each in comparisons])
    return tuple(None if each is None else p for each, p in zip(comparisons, adjusted, strict=True))


def _finite(*values: float) -> bool:
    return all(math.isfinite(value) for value in values)
