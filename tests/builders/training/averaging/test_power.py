"""Power function averages: lengths and exponents, shares of the steps, and combinations of averages."""

from __future__ import annotations

import math

import pytest
import torch

from builders.training.averaging.power import Profile, combine, exponent_of, length_of, power_decay


def shares(length: float, age: int) -> torch.Tensor:
    """Return the share of each step, (age,), of an average that is updated step by step."""
    found = torch.zeros(age, dtype=torch.float64)
    for step in range(age):
        decay = power_decay(exponent_of(length), step)
        found *= decay
        found[step] += 1 - decay
    return found


def function(length: float, age: int) -> torch.Tensor:
    """Return the same in closed form."""
    return ((torch.arange(age + 1, dtype=torch.float64) / age) ** (exponent_of(length) + 1)).diff()


def test_lengths_and_exponents_of_the_paper() -> None:
    assert exponent_of(0.05) == pytest.approx(16.97, abs=0.005) and exponent_of(0.1) == pytest.approx(6.94, abs=0.005)
    for length in (0.005, 0.01, 0.1, 0.25, 0.288):
        assert length_of(exponent_of(length)) == pytest.approx(length)
    assert length_of(0) == pytest.approx(1 / math.sqrt(12))
    for length in (0.0, 0.004, 0.29, math.nan):
        with pytest.raises(ValueError, match=r"the length of an average is from 0.005 to 0.288, not"):
            exponent_of(length)


@pytest.mark.parametrize("length", [0.03, 0.1, 0.25])
def test_shares_of_the_steps_are_a_power_function(length: float) -> None:
    age = 200
    found = shares(length, age)
    torch.testing.assert_close(found, function(length, age), rtol=1e-9, atol=1e-15)
    # The length is the standard deviation of the step that a share belongs to, relative to the last one.
    places = (torch.arange(age) + 0.5) / age
    mean = (found * places).sum()
    assert (found * (places - mean) ** 2).sum().sqrt() == pytest.approx(length, rel=2e-3)


@pytest.mark.parametrize(("one", "other"), [((0.05, 90), (0.1, 200)), ((0.1, 200), (0.05, 90)), ((0.2, 70), (0.2, 70))])
def test_inner_product_is_the_integral_of_the_product(one: tuple[float, int], other: tuple[float, int]) -> None:
    places = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 1e3
    product = torch.ones_like(places)
    for length, age in (one, other):
        power = exponent_of(length)
        product *= torch.where(places <= age, (power + 1) * places**power / float(age) ** (power + 1), 0)
    assert Profile(*one).product(Profile(*other)) == pytest.approx(float(product.sum()) / 1e3, rel=1e-3)


def test_an_average_that_was_saved_is_taken_as_it_is() -> None:
    saved = [Profile(length, age) for age in (100, 200, 300) for length in (0.05, 0.1)]
    found = combine(saved, Profile(0.1, 300))
    assert found.shares == pytest.approx((0, 0, 0, 0, 0, 1), abs=1e-6) and found.error < 1e-5


@pytest.mark.parametrize(("length", "most"), [(0.03, 0.2), (0.05, 1e-5), (0.07, 0.01), (0.15, 0.01), (0.25, 0.1)])
def test_saved_averages_make_one_of_another_length(length: float, most: float) -> None:
    ages = range(40, 641, 40)
    saved = [Profile(each, age) for age in ages for each in (0.05, 0.1)]
    found = combine(saved, Profile(length, 640))
    assert sum(found.shares) == pytest.approx(1)
    combined = torch.zeros(640, dtype=torch.float64)
    for share, profile in zip(found.shares, saved, strict=True):
        combined[: profile.age] += share * function(profile.length, profile.age)
    wanted = function(length, 640)
    error = float((combined - wanted).norm() / wanted.norm())
    assert error < most and found.error == pytest.approx(error, abs=0.01)


def test_more_averages_make_a_better_one() -> None:
    errors = []
    for every in (320, 160, 80, 40):
        saved = [Profile(each, age) for age in range(every, 641, every) for each in (0.05, 0.1)]
        errors.append(combine(saved, Profile(0.2, 640)).error)
    assert errors == sorted(errors, reverse=True) and errors[0] > 10 * errors[-1]
