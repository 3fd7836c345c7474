"""Arms compared over seeds: pairs, scales, missing runs, and false positives of null studies."""

from __future__ import annotations

import math

import numpy as np
import pytest

from registry.statistics.holm import holm_adjusted, holm_adjusted_rows
from registry.statistics.intervals import mean_interval
from registry.statistics.paired import adjusted_p_values, compare_pairs
from registry.statistics.sign_flips import sign_flip_p_values


def by_seed(values):
    return dict(enumerate(values))


def test_pairs_of_seeds_that_both_arms_have():
    first = {0: 1.0, 1: 2.0, 2: math.nan, 3: 4.0, 9: 9.0}
    second = {3: 3.0, 1: 1.0, 0: 0.5, 2: 2.0, 8: math.inf, 9: math.inf}
    found = compare_pairs(first, second)
    assert found.seeds == (0, 1, 3)
    assert (found.first, found.second) == (pytest.approx(7 / 3), pytest.approx(1.5))
    assert found.difference.value == pytest.approx(5 / 6) and found.percent.value == pytest.approx(100 * (7 / 4.5 - 1))
    assert found.p_value == 0.25
    assert compare_pairs({0: 1.0}, {1: 1.0}) is None


def test_pairing_counts():
    seeds = np.random.default_rng(0).normal(size=8)  # what a seed adds to both arms
    first, second = by_seed(5 + seeds), by_seed(5.1 + seeds + 0.01 * np.arange(8))
    assert compare_pairs(first, second).p_value == 2 / 2**8
    shuffled = dict(zip(range(8), np.roll(list(second.values()), 3), strict=True))
    assert compare_pairs(first, shuffled).p_value > 0.05


def test_direction_of_the_alternative():
    first, second = by_seed(np.arange(8.0)), by_seed(np.arange(8.0) + 1)
    assert compare_pairs(first, second, "less").p_value == 1 / 2**8
    assert compare_pairs(first, second, "greater").p_value == 1.0


def test_per_cent_needs_positive_values():
    found = compare_pairs(by_seed([1.0, 2, 3, 4]), by_seed([1.0, -0.01, 2, 3]))
    assert found.percent is None and found.difference.low is not None
    assert compare_pairs(by_seed([1.0, 2, 3]), by_seed([0.0, 2, 3])).percent is None


def test_an_end_that_has_no_float_in_per_cent_is_infinite():
    first = {seed: 2.0 if seed == 7 else 1 + 1e-6 * seed for seed in range(8)}
    found = compare_pairs(first, dict.fromkeys(range(8), 1.0), scale="log")
    assert 700 < found.difference.high < np.inf and found.percent.high == np.inf
    assert found.percent.value == pytest.approx(9.05, abs=0.01)


def test_log_scale():
    second = by_seed([1.0, 2.0, 4.0, 8.0, 3.0])
    first = {seed: value * math.exp(0.1 * seed) for seed, value in second.items()}
    found = compare_pairs(first, second, scale="log")
    logs = mean_interval([0.0, 0.1, 0.2, 0.3, 0.4])
    assert found.difference.value == pytest.approx(0.2) and found.difference.low == pytest.approx(logs.low)
    assert found.percent.value == pytest.approx(100 * math.expm1(0.2))
    assert found.percent.high == pytest.approx(100 * math.expm1(logs.high))
    assert found.first / found.second == pytest.approx(math.exp(0.2))
    assert found.seeds == (0, 1, 2, 3, 4) and found.p_value == 4 / 2**5  # seed 0 has no difference
    assert compare_pairs(first, second, "less", "log").p_value == 1
    assert compare_pairs(by_seed([2.0] * 5), by_seed([3.0] * 5), "less", "log").p_value == 1 / 2**5
    assert compare_pairs({0: 1.0}, {0: 2.0}, scale="log").percent.low is None
    with pytest.raises(ValueError, match="above 0"):
        compare_pairs({0: 1.0}, {0: 0.0}, scale="log")


def test_a_comparison_that_could_not_be_made_counts():
    one = compare_pairs(by_seed(np.arange(8.0)), by_seed(np.arange(8.0) + 1))
    assert adjusted_p_values([one, None, None]) == (pytest.approx(3 * 2 / 2**8), None, None)
    assert adjusted_p_values([one]) == (2 / 2**8,)


def test_at_most_5_per_cent_of_1000_null_studies_find_anything():
    """Each study has eight seeds, four arms of one distribution, and three contrasts with the first arm."""
    rng = np.random.default_rng(1)
    arms = rng.normal(size=(1000, 1, 8)) + rng.lognormal(sigma=0.5, size=(1000, 4, 8))
    p_values = np.stack([sign_flip_p_values(arms[:, 0] - arms[:, other]) for other in (1, 2, 3)], 1)
    assert (p_values[:, 0] <= 0.05).sum() <= 50
    assert (holm_adjusted_rows(p_values).min(1) <= 0.05).sum() <= 50


def test_a_study_analysed_alone_has_the_same_p_values():
    rng = np.random.default_rng(1)
    arms = [by_seed(arm) for arm in rng.normal(size=(4, 8))]
    found = [compare_pairs(arms[0], other) for other in arms[1:]]
    differences = np.array([[arms[0][seed] - other[seed] for seed in range(8)] for other in arms[1:]])
    assert [each.p_value for each in found] == list(sign_flip_p_values(differences))
    assert adjusted_p_values(found) == holm_adjusted([each.p_value for each in found])
