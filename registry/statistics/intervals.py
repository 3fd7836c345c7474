"""Bootstrap intervals of paired differences over seeds: the bootstrap-t.

Percentiles of resampled means are too narrow for few pairs (88 % instead of 95 % at eight). The bootstrap-t takes the
quantiles of the mean divided by its standard error instead (Efron and Tibshirani 1993, An Introduction to the
Bootstrap, section 12.5); with eight pairs it covers 93 to 97 % for normal, heavy-tailed (t with 5 degrees of freedom)
and skewed (lognormal) differences.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

__all__ = ["FEWEST_PAIRS", "Estimate", "band", "mean_interval", "percent_interval"]

Numbers = npt.ArrayLike

#: With fewer pairs too many resamples have no spread, so there is no interval.
FEWEST_PAIRS = 4
#: Number and seed of the resamples.
RESAMPLES, SEED = 10_000, 0
#: Spreads below this share of the largest number are rounding.
ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its interval.

    Attributes:
        value: The value.
        low: Lower end of the interval, or None if there are too few pairs for one.
        high: Upper end of the interval, or None.
    """

    value: float
    low: float | None = None
    high: float | None = None


def mean_interval(differences: Numbers, level: float = 0.95, resamples: int = RESAMPLES) -> Estimate:
    """Return the mean of paired differences with its bootstrap-t interval over the pairs.

    Args:
        differences: Differences of the pairs, (n,), one pair per seed.
        level: Coverage of the interval.
        resamples: Number of resamples, always the same ones.

    Raises:
        ValueError: There are no differences, or some are not finite.
    """
    values = _row(differences)
    return _ratio_of_means(values, np.ones_like(values), level, resamples)


def percent_interval(first: Numbers, second: Numbers, level: float = 0.95, resamples: int = RESAMPLES) -> Estimate:
    """Return by how many per cent the mean of the first arm is above that of the second, with its interval.

    The standard error of the ratio of means is that of its linear approximation.

    Args:
        first: Values of the first arm, (n,), one per seed.
        second: Values of the second arm for the same seeds, (n,). They must be above 0.
        level: Coverage of the interval.
        resamples: Number of resamples, always the same ones.

    Raises:
        ValueError: The arms have different numbers of values, none, or some that are not finite, or the second arm has
            values that are not above 0.
    """
    one, other = _row(first), _row(second)
    if len(one) != len(other):
        raise ValueError(f"{len(one)} and {len(other)} values are not pairs")
    if other.min() <= 0:
        raise ValueError("a difference in per cent needs values above 0 in the second arm")

    ratio = _ratio_of_means(one, other, level, resamples)
    ends = (100 * (end - 1) if end is not None else None for end in (ratio.low, ratio.high))
    return Estimate(100 * (ratio.value - 1), *ends)


def band(values: Numbers, level: float = 0.95) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the mean of curves over seeds and the ends of its interval, each (points,).

    Args:
        values: Curves of the seeds at the same points, (seeds, points). With fewer than four seeds the band is the
            range of the curves.
        level: Coverage of the interval at each point.
    """
    curves = np.asarray(values, dtype=np.float64)
    if len(curves) < FEWEST_PAIRS:
        return curves.mean(0), curves.min(0), curves.max(0)
    found = [mean_interval(column, level, resamples=2000) for column in curves.T]
    ends = np.array([(each.low, each.high) for each in found], dtype=np.float64)
    return curves.mean(0), ends[:, 0], ends[:, 1]


def _row(numbers: Numbers) -> np.ndarray:
    values = np.asarray(numbers, dtype=np.float64)
    if values.ndim != 1 or not len(values):
        raise ValueError("an interval needs one row of at least one number")
    if not np.isfinite(values).all():
        raise ValueError("an interval needs finite numbers")
    return values


def _ratio_of_means(first: np.ndarray, second: np.ndarray, level: float, resamples: int) -> Estimate:
    """Return the mean of one row (n,) divided by that of another one (n,), with its bootstrap-t interval over pairs."""
    unit = second.mean()
    ratio = float(first.mean() / unit)
    if len(first) < FEWEST_PAIRS:
        return Estimate(ratio)
    # What the ratio does not explain. Its mean is 0: a resample's ratio is the ratio plus that of the rest.
    rest, other = (first - ratio * second) / unit, second / unit
    weights = _weights(len(first), resamples)  # (R, n)
    shifts = (weights @ rest) / (weights @ other)
    errors = np.sqrt((weights * (rest - shifts[:, None] * other) ** 2).sum(1)) / (weights @ other)
    error = float(np.sqrt((rest**2).mean()))
    tiny = ROUNDING * max(float(np.abs(first).max()), abs(ratio) * float(second.max())) / unit
    if error <= tiny:
        return Estimate(ratio, ratio, ratio)
    # A resample that repeats one pair has no spread, and lies beyond all others.
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = np.where(errors > tiny, shifts / errors, np.sign(shifts) * np.inf)
    scaled[np.abs(shifts) <= tiny] = 0.0
    # Quantiles that are resamples themselves: between a number and infinity there is none.
    high, low = np.quantile(scaled, [(1 + level) / 2, (1 - level) / 2], method="nearest")
    return Estimate(ratio, ratio - float(high) * error, ratio - float(low) * error)


@cache
def _weights(count: int, resamples: int) -> np.ndarray:
    """Return shares of the pairs (R, n) in resamples."""
    drawn = np.random.default_rng(SEED).multinomial(count, np.full(count, 1 / count), resamples)
    weights = drawn / count
    weights.flags.writeable = False
    return np.asarray(weights)
