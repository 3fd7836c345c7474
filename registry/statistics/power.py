"""Power of a study by simulation: sign-flip tests of several contrasts, adjusted by Holm's method.

Effects are differences of means in units of the standard deviation of the paired differences over seeds, which are
simulated as independent normal numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from registry.statistics.holm import holm_adjusted_rows
from registry.statistics.sign_flips import Alternative, sign_flip_p_values, smallest_p_value

__all__ = ["can_reject", "smallest_effect", "study_power"]

SEED, SIMULATIONS = 0, 2000
#: Largest effect that is looked for, and the number of bisections.
LARGEST, BISECTIONS = 64.0, 12
#: Assignments of signs in simulated tests: all of up to 12 pairs, 4,096 random ones of more.
ASSIGNMENTS = 2**12


def study_power(
    effects: Sequence[float],
    pairs: int,
    alpha: float = 0.05,
    simulations: int = SIMULATIONS,
    seed: int = SEED,
    one_sided: Sequence[bool] | None = None,
) -> tuple[float, ...]:
    """Return the probability that each contrast of a study is significant after Holm's adjustment.

    Args:
        effects: Effects of all contrasts of the family; 0 for contrasts without one.
        pairs: Number of seeds.
        alpha: Largest probability of any false rejection.
        simulations: Number of simulated studies.
        seed: Seed of the simulation.
        one_sided: Whether each contrast has a one-sided test, in the direction of its effect; None for none of them.

    Raises:
        ValueError: There are no contrasts or no pairs.
    """
    if not effects:
        raise ValueError("a study without contrasts has no power")
    noise = _noise(len(effects), pairs, simulations, seed)
    sides = [False] * len(effects) if one_sided is None else one_sided
    tests = zip(noise, effects, sides, strict=True)
    found = np.column_stack([_p_values(part + effect, side) for part, effect, side in tests])
    return tuple(float(share) for share in (holm_adjusted_rows(found) <= alpha).mean(0))


def smallest_effect(
    pairs: int,
    contrasts: int = 1,
    power: float = 0.8,
    alpha: float = 0.05,
    simulations: int = SIMULATIONS,
    seed: int = SEED,
    one_sided: bool = False,
) -> float | None:
    """Return the smallest effect of a single contrast that is found with some power while the others have none.

    Args:
        pairs: Number of seeds.
        contrasts: Number of contrasts of the family.
        power: Probability that the contrast is significant.
        alpha: Largest probability of any false rejection.
        simulations: Number of simulated studies.
        seed: Seed of the simulation.
        one_sided: Whether the tests are one-sided.

    Returns:
        The effect, to three digits, or None if these pairs can never reject this many contrasts.
    """
    if not can_reject(pairs, contrasts, alpha, one_sided):
        return None
    noise = _noise(contrasts, pairs, simulations, seed)
    others = _p_values(noise[1:].reshape(-1, pairs), one_sided).reshape(contrasts - 1, simulations).T
    low, high = 0.0, LARGEST
    for _ in range(BISECTIONS):
        middle = (low + high) / 2 if low else high / 4
        own = _p_values(noise[0] + middle, one_sided)
        found = holm_adjusted_rows(np.column_stack([own, others]))[:, 0] <= alpha
        low, high = (low, middle) if found.mean() >= power else (middle, high)
    return float(f"{high:.3g}")


def can_reject(pairs: int, contrasts: int = 1, alpha: float = 0.05, one_sided: bool = False) -> bool:
    """Return whether one contrast of a family can be significant at all, given how many pairs there are."""
    return smallest_p_value(pairs, one_sided) * contrasts <= alpha


def _noise(contrasts: int, pairs: int, simulations: int, seed: int) -> np.ndarray:
    """Return differences without effects, (contrasts, simulations, pairs)."""
    return np.random.default_rng(seed).standard_normal((contrasts, simulations, pairs))


def _p_values(differences: np.ndarray, one_sided: bool) -> np.ndarray:
    alternative: Alternative = "greater" if one_sided else "two-sided"
    return sign_flip_p_values(differences, alternative, most=ASSIGNMENTS, drawn=ASSIGNMENTS)
