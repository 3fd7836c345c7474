"""Power by simulation: against the exact value, its order, and studies that can reject nothing."""

from __future__ import annotations

import math

import pytest

from registry.statistics.power import can_reject, smallest_effect, study_power


def test_equals_the_exact_power_where_all_signs_must_agree():
    # With five pairs and alpha 2 / 2^5 a test rejects if all differences have one sign.
    right = 0.5 * (1 + math.erf(1.2 / math.sqrt(2)))
    exact = right**5 + (1 - right) ** 5
    (found,) = study_power([1.2], 5, alpha=2 / 2**5, simulations=4000)
    assert found == pytest.approx(exact, abs=3 * math.sqrt(exact * (1 - exact) / 4000))


def test_the_seed_sets_the_simulation():
    one, same, other = (study_power([1.0], 6, alpha=0.1, simulations=500, seed=seed) for seed in (1, 1, 2))
    assert one == same != other


def test_the_smallest_effect_has_the_power_and_a_smaller_one_has_not():
    found = smallest_effect(6, simulations=400)
    assert found == smallest_effect(6, 1, simulations=400)
    less, enough = (study_power([factor * found], 6, simulations=400)[0] for factor in (0.985, 1.001))
    assert less < 0.8 <= enough
    assert smallest_effect(12, simulations=100) < 1


def test_a_value_at_alpha_is_significant():
    assert can_reject(5, alpha=2 / 2**5) and can_reject(6) and not can_reject(6, 2)
    assert smallest_effect(5, alpha=2 / 2**5, simulations=100) < 10


def test_no_effect_is_found_at_most_at_alpha():
    found = study_power([0.0, 0.0, 0.0], 8)
    assert max(found) <= 0.05


def test_more_pairs_and_larger_effects_have_more_power():
    assert study_power([0.8], 6)[0] < study_power([0.8], 8)[0] < study_power([0.8], 10)[0]
    assert study_power([0.5], 8)[0] < study_power([1.0], 8)[0] < study_power([2.0], 8)[0] > 0.99
    alone, among = study_power([1.5], 8)[0], study_power([1.5, 0, 0, 0, 0], 8)[0]
    assert among < alone


def test_smallest_effect_has_the_power():
    for contrasts in (1, 5):
        effect = smallest_effect(8, contrasts, simulations=500)
        found = study_power([effect, *[0.0] * (contrasts - 1)], 8, simulations=500)
        assert found[0] == pytest.approx(0.8, abs=0.02)
    one, three, five = (smallest_effect(8, contrasts, simulations=300) for contrasts in (1, 3, 5))
    assert one < three < five
    assert smallest_effect(8, 1, power=0.5, simulations=300) < one


def test_many_pairs():
    assert smallest_effect(16, simulations=100) < smallest_effect(8, simulations=100)


@pytest.mark.parametrize(("pairs", "contrasts", "can"), [(8, 6, True), (8, 7, False), (5, 1, False), (6, 1, True)])
def test_studies_that_can_reject_nothing(pairs, contrasts, can):
    assert can_reject(pairs, contrasts) is can
    assert (smallest_effect(pairs, contrasts, simulations=100) is not None) is can


def test_one_sided_tests():
    # With five pairs and alpha 1 / 2^5 a one-sided test rejects if all differences are positive.
    right = 0.5 * (1 + math.erf(1.2 / math.sqrt(2)))
    (found,) = study_power([1.2], 5, alpha=1 / 2**5, simulations=4000, one_sided=[True])
    assert found == pytest.approx(right**5, abs=3 * math.sqrt(right**5 * (1 - right**5) / 4000))
    assert can_reject(5, one_sided=True) and not can_reject(5, 2, one_sided=True)
    assert smallest_effect(5, simulations=100) is None
    assert smallest_effect(8, simulations=300, one_sided=True) < smallest_effect(8, simulations=300)


def test_a_study_without_contrasts():
    with pytest.raises(ValueError, match="without contrasts"):
        study_power([], 8)
