"""The sign-flip test: against SciPy, by hand, at its limits, and with more pairs than can be enumerated."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import permutation_test, wilcoxon

from registry.statistics.sign_flips import sign_flip_p_values, sign_flip_test, smallest_p_value


@pytest.mark.parametrize("alternative", ["two-sided", "less", "greater"])
@pytest.mark.parametrize("pairs", [2, 5, 8, 11])
def test_equals_scipy(pairs, alternative):
    differences = np.random.default_rng(pairs).normal(0.4, 1.0, pairs)
    theirs = permutation_test(
        (differences,), np.mean, permutation_type="samples", alternative=alternative, n_resamples=np.inf
    )
    assert sign_flip_test(differences, alternative) == pytest.approx(theirs.pvalue, abs=1e-15)


@pytest.mark.parametrize("alternative", ["two-sided", "less", "greater"])
def test_equals_all_assignments_written_out(alternative):
    differences = [1.5, -0.5, 2.0, 0.25]
    sums = [
        sum(s * d for s, d in zip(signs, differences, strict=True)) for signs in itertools.product((1, -1), repeat=4)
    ]
    extreme = {
        "two-sided": [abs(each) >= 3.25 for each in sums],
        "less": [each <= 3.25 for each in sums],
        "greater": [each >= 3.25 for each in sums],
    }
    assert sign_flip_test(differences, alternative) == np.mean(extreme[alternative])


def test_ranks_give_wilcoxons_test():
    # Of differences 1..8 with signs, the sum of signed ranks is that of the differences.
    differences = np.array([1, 2, 3, -4, 5, 6, 7, 8.0])
    assert sign_flip_test(differences) == pytest.approx(wilcoxon(differences, method="exact").pvalue, abs=1e-15)


@pytest.mark.parametrize("pairs", [1, 4, 8, 20])
def test_all_of_one_sign_have_the_smallest_value(pairs):
    differences = 1 + np.arange(pairs) / 7
    assert sign_flip_test(differences) == smallest_p_value(pairs) == 2 / 2**pairs
    assert sign_flip_test(differences, "greater") == 1 / 2**pairs and sign_flip_test(differences, "less") == 1.0


def test_eight_seeds_reach_0_008():
    assert smallest_p_value(8) == 0.0078125
    assert smallest_p_value(8, one_sided=True) == 0.00390625 == sign_flip_test([1.0] * 8, "greater")


def test_ties_are_ties_whatever_the_rounding():
    # 0.1 + 0.2 - 0.3 is not 0 in binary.
    assert sign_flip_test([0.1, 0.2, -0.3]) == sign_flip_test([1, 2, -3]) == 1.0
    assert sign_flip_test([0.1, 0.2, 0.3, -0.3]) == sign_flip_test([1, 2, 3, -3])


def test_the_unit_does_not_matter():
    differences = np.random.default_rng(0).normal(size=9)
    assert sign_flip_test(differences * 1e-9) == sign_flip_test(differences) == sign_flip_test(differences * 1e9)


def test_no_differences_at_all():
    assert sign_flip_test(np.zeros(8)) == 1.0


def test_many_pairs_are_compared_with_random_assignments():
    differences = np.random.default_rng(5).normal(0.35, 1.0, 25)
    drawn = sign_flip_test(differences)
    assert drawn == sign_flip_test(differences)
    error = 3 * (drawn * (1 - drawn) / 100_000) ** 0.5
    theirs = permutation_test((differences,), np.mean, permutation_type="samples", n_resamples=20_000, rng=1)
    assert drawn == pytest.approx(theirs.pvalue, abs=error + 0.006)
    assert sign_flip_test(np.ones(25)) <= 4 / 100_001  # an assignment that is drawn may be that of all signs
    assert smallest_p_value(25) == 1 / 100_001


def test_the_observed_assignment_is_one_more_of_those_drawn():
    assert sign_flip_p_values(np.ones((1, 12)), most=100, drawn=7).tolist() == [1 / 8]


def test_rounding_is_relative_to_each_study():
    small = [1.0, 2.0, 3.0, -4.0, 5.0]
    assert sign_flip_p_values([[1e13] * 5, small])[1] == sign_flip_test(small)


def test_random_assignments_are_near_the_exact_value():
    differences = np.random.default_rng(6).normal(0.4, 1.0, (50, 12))
    exact = sign_flip_p_values(differences)
    drawn = sign_flip_p_values(differences, most=100, drawn=20_000)
    assert np.abs(exact - drawn).max() < 0.015 and (drawn > 0).all()


@pytest.mark.parametrize("alternative", ["two-sided", "less", "greater"])
def test_studies_together_equal_each_alone(alternative, monkeypatch):
    monkeypatch.setattr("registry.statistics.sign_flips.AT_ONCE", 3 * 2**7)  # three studies at once
    differences = np.random.default_rng(8).normal(0.3, 1, (11, 7))
    together = sign_flip_p_values(differences, alternative)
    assert list(together) == [sign_flip_test(row, alternative) for row in differences]
    assert sign_flip_p_values(np.empty((0, 7))).shape == (0,)


@pytest.mark.parametrize(
    ("differences", "alternative", "message"),
    [
        ([], "two-sided", "at least one pair"),
        ([1.0, float("nan")], "two-sided", "finite"),
        ([1.0, float("inf")], "less", "finite"),
        ([[1.0], [2.0]], "two-sided", r"one row of numbers, not an array of shape \(2, 1\)"),
        ([1.0], "bigger", "no alternative 'bigger'"),
    ],
)
def test_what_cannot_be_tested(differences, alternative, message):
    with pytest.raises(ValueError, match=message):
        sign_flip_test(differences, alternative)
