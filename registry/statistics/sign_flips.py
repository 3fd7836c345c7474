"""The sign-flip permutation test of paired differences (Fisher 1935, The Design of Experiments, section 21).

If two arms do not differ, the signs of their paired differences are arbitrary: each of the 2^n assignments of signs
is equally likely. The p value is the share of assignments whose sum is at least as extreme as the observed one.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

__all__ = ["Alternative", "sign_flip_p_values", "sign_flip_test", "smallest_p_value"]

Alternative = Literal["two-sided", "less", "greater"]
Differences = npt.ArrayLike

#: Up to this many differences all assignments of signs are enumerated; of more, random ones are drawn.
MOST_EXACT = 20
#: Number and seed of random assignments.
DRAWN, SEED = 100_000, 0
#: Sums that differ by less than this share of the sum of absolute differences are equal.
ROUNDING = 1e-12
#: Number of sums in memory at once.
AT_ONCE = 2**22


def sign_flip_test(differences: Differences, alternative: Alternative = "two-sided") -> float:
    """Return the p value of the hypothesis that paired differences are symmetric about zero.

    The test is exact up to 20 differences. Of more, 100,000 random assignments of signs and the observed one are
    compared (Phipson and Smyth 2010, arXiv 1603.05766), always the same ones.

    Args:
        differences: Differences of the pairs, (n,).
        alternative: Sign of the mean under the alternative hypothesis: "two-sided", "less" or "greater".

    Raises:
        ValueError: There are no differences, or some are not finite, or there is no such alternative.
    """
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1:
        raise ValueError(f"differences of pairs are one row of numbers, not an array of shape {values.shape}")
    return float(sign_flip_p_values(values[None], alternative)[0])


def sign_flip_p_values(
    differences: Differences, alternative: Alternative = "two-sided", most: int = 2**MOST_EXACT, drawn: int = DRAWN
) -> np.ndarray:
    """Return the p values (S,) of several studies of equally many pairs.

    Args:
        differences: Differences of the pairs, (S, n).
        alternative: Sign of the mean under the alternative hypothesis.
        most: Largest number of assignments of signs to enumerate.
        drawn: Number of random assignments if there are more.

    Raises:
        ValueError: There are no differences, or some are not finite, or there is no such alternative.
    """
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 2 or not values.shape[1]:
        raise ValueError("a test of paired differences needs at least one pair")
    if not np.isfinite(values).all():
        raise ValueError("differences of pairs must be finite")
    if alternative not in ("two-sided", "less", "greater"):
        raise ValueError(f"no alternative {alternative!r}; there are 'two-sided', 'less' and 'greater'")
    if alternative == "less":
        values = -values
    signs = _drawn_signs(values.shape[1], drawn) if 2 ** values.shape[1] > most else None
    rows = max(1, AT_ONCE // (drawn if signs is not None else 2 ** values.shape[1]))
    parts = [values[start : start + rows] for start in range(0, len(values), rows)]
    return np.concatenate([_p_values(part, alternative == "two-sided", signs) for part in parts] or [np.empty(0)])


def smallest_p_value(pairs: int, one_sided: bool = False) -> float:
    """Return the smallest p value that a number of pairs can have: 2 / 2^n, half of it for a one-sided test.

    Of more than 20 pairs it is that of random assignments.
    """
    return (1 if one_sided else 2) / 2**pairs if pairs <= MOST_EXACT else 1 / (DRAWN + 1)


def _drawn_signs(pairs: int, drawn: int) -> np.ndarray:
    return np.random.default_rng(SEED).integers(0, 2, (pairs, drawn)) * 2.0 - 1.0


def _p_values(values: np.ndarray, two_sided: bool, signs: np.ndarray | None) -> np.ndarray:
    """Return the p values of some studies: the share of sums that are as large as theirs.

    Args:
        values: Differences, (S, n).
        two_sided: Whether to compare absolute values of sums.
        signs: Random assignments (n, assignments), or None for all of them.
    """
    sums, observed = values @ signs if signs is not None else _all_sums(values), values.sum(1)
    if two_sided:
        sums, observed = np.abs(sums), np.abs(observed)
    extreme = sums >= (observed - ROUNDING * np.abs(values).sum(1))[:, None]
    if signs is None:
        return np.asarray(extreme.mean(1))
    return np.asarray((extreme.sum(1) + 1) / (signs.shape[1] + 1))


def _all_sums(values: np.ndarray) -> np.ndarray:
    """Return the sums (S, 2^n) of differences (S, n) under all assignments of signs."""
    sums = np.zeros((len(values), 1))
    for place in range(values.shape[1]):
        difference = values[:, place, None]
        sums = np.concatenate([sums + difference, sums - difference], 1)
    return sums
