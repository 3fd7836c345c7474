"""Bootstrap-t intervals: their coverage on simulated pairs, by hand, and at their limits."""

from __future__ import annotations

import numpy as np
import pytest

from registry.statistics.intervals import Estimate, band, mean_interval, percent_interval

STUDIES, RESAMPLES = 600, 999
DRAWS = {
    "normal": lambda rng: rng.standard_normal(8),
    "skewed": lambda rng: rng.lognormal(0, 0.5, 8) - np.exp(0.125),
    "heavy": lambda rng: rng.standard_t(5, 8),
}


def test_coverage_of_eight_normal_pairs_is_93_to_97_per_cent():
    assert 0.93 <= coverage("normal", STUDIES, RESAMPLES) <= 0.97


@pytest.mark.slow
@pytest.mark.parametrize("shape", DRAWS)
def test_coverage_of_other_distributions(shape):
    assert 0.93 <= coverage(shape, 4000, 10_000) <= 0.97


def coverage(shape, studies, resamples):
    rng = np.random.default_rng(2)
    found = [mean_interval(3 + DRAWS[shape](rng), resamples=resamples) for _ in range(studies)]
    return np.mean([each.low <= 3 <= each.high for each in found])


def test_coverage_of_a_difference_in_per_cent():
    rng = np.random.default_rng(3)
    covered = []
    for _ in range(STUDIES):
        second = 0.2 + 0.02 * rng.standard_normal(8)
        first = 0.9 * second + 0.005 * rng.standard_normal(8)
        found = percent_interval(first, second, resamples=RESAMPLES)
        covered.append(found.low <= -10 <= found.high)
    assert 0.93 <= np.mean(covered) <= 0.97


def test_level():
    rng = np.random.default_rng(4)
    found = [mean_interval(rng.standard_normal(8), level=0.8, resamples=RESAMPLES) for _ in range(STUDIES)]
    assert 0.76 <= np.mean([each.low <= 0 <= each.high for each in found]) <= 0.84


def test_equals_the_definition_written_out():
    values = np.array([0.3, -0.1, 0.5, 0.9, 0.2])
    drawn = np.random.default_rng(0).multinomial(5, np.full(5, 0.2), 10_000)
    scaled = []
    for counts in drawn:
        resample = np.repeat(values, counts)
        spread = resample.std()
        shift = resample.mean() - values.mean()
        scaled.append(shift / spread if spread > 1e-12 else np.sign(shift) * np.inf)
    high, low = np.quantile(scaled, [0.975, 0.025], method="nearest")
    found = mean_interval(values)
    assert found.value == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - high * values.std())
    assert found.high == pytest.approx(values.mean() - low * values.std())


def test_per_cent_equals_the_definition_written_out():
    first, second = np.array([1.1, 2.3, 0.9, 1.6, 1.9]), np.array([1.0, 2.0, 1.2, 1.5, 4.0])
    ratio, scaled = first.sum() / second.sum(), []
    for counts in np.random.default_rng(0).multinomial(5, np.full(5, 0.2), 10_000):
        one, other = np.repeat(first, counts), np.repeat(second, counts)
        drawn = one.mean() / other.mean()
        spread = np.sqrt(((one - drawn * other) ** 2).mean()) / other.mean()
        scaled.append((drawn - ratio) / spread if spread > 1e-9 else np.sign(drawn - ratio) * np.inf)
    high, low = np.quantile(scaled, [0.975, 0.025], method="nearest")
    error = np.sqrt(((first - ratio * second) ** 2).mean()) / second.mean()
    found = percent_interval(first, second)
    assert (found.low, found.high) == (
        pytest.approx(100 * (ratio - high * error - 1)),
        pytest.approx(100 * (ratio - low * error - 1)),
    )


def test_per_cent_is_of_the_means_and_of_neither_unit_nor_shift():
    first, second = np.array([1.1, 2.3, 0.9, 1.6]), np.array([1.0, 2.0, 1.0, 1.5])
    found = percent_interval(first, second)
    assert found.value == pytest.approx(100 * (5.9 / 5.5 - 1))
    for unit in (1e-7, 1e7):
        scaled = percent_interval(first * unit, second * unit)
        assert (scaled.low, scaled.high) == (pytest.approx(found.low), pytest.approx(found.high))
    shifted, plain = mean_interval(first + 1e6), mean_interval(first)
    assert shifted.low == pytest.approx(plain.low + 1e6, rel=1e-12)


def test_a_small_spread_around_a_large_mean():
    found = mean_interval(1e6 + 1e-3 * np.arange(8))
    plain = mean_interval(1e-3 * np.arange(8))
    assert found.high - found.low == pytest.approx(plain.high - plain.low, rel=1e-4)


def test_pairs_without_spread():
    assert mean_interval([2.0] * 8) == Estimate(2.0, 2.0, 2.0)
    assert mean_interval([0.0] * 8) == Estimate(0.0, 0.0, 0.0)
    assert percent_interval([0.3] * 6, [0.2] * 6).low == pytest.approx(50)
    assert percent_interval([1, 2, 3, 4], [1, 2, 3, 4]) == Estimate(0.0, 0.0, 0.0)


def test_resamples_of_one_pair_lie_beyond_all_others_and_those_with_the_same_mean_in_the_middle():
    assert mean_interval([1.0, 2.0, 3.0, 5.0], level=0.999).high == np.inf
    assert mean_interval([-1.0, -1.0, 1.0, 1.0], level=0.1) == Estimate(0.0, 0.0, 0.0)


def test_few_pairs_have_no_interval():
    assert mean_interval([1.0, 2.0, 3.0]) == Estimate(2.0)
    assert percent_interval([1.0], [2.0]) == Estimate(-50.0)
    assert mean_interval([1.0, 2.0, 3.0, 5.0]).high < np.inf


def test_skewed_differences_have_skewed_intervals():
    values = np.array([0.0, 0.0, 0.1, 0.1, 0.2, 0.2, 0.3, 2.0])
    found = mean_interval(values)
    assert found.high - found.value > 1.5 * (found.value - found.low)
    mirrored = mean_interval(-values)
    assert mirrored.value - mirrored.low > 1.5 * (mirrored.high - mirrored.value)


def test_the_same_every_time():
    values = np.random.default_rng(0).normal(size=8)
    assert mean_interval(values) == mean_interval(values)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mean_interval([]), "at least one number"),
        (lambda: mean_interval([[1.0, 2.0]]), "one row"),
        (lambda: mean_interval([1.0, float("nan")]), "finite numbers"),
        (lambda: percent_interval([1, 2], [1, 2, 3]), "2 and 3 values are not pairs"),
        (lambda: percent_interval([1, 2], [1, 0]), "above 0 in the second arm"),
        (lambda: percent_interval([1, 2], [1, float("inf")]), "finite numbers"),
    ],
)
def test_what_has_no_interval(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_band_of_curves():
    curves = np.random.default_rng(1).normal(size=(8, 3)) + np.arange(3)
    mean, low, high = band(curves)
    alone = mean_interval(curves[:, 2], resamples=2000)
    assert (mean[2], low[2], high[2]) == (pytest.approx(alone.value), alone.low, alone.high)
    assert band(curves, level=0.5)[1][2] == mean_interval(curves[:, 2], 0.5, resamples=2000).low > low[2]
    assert band(curves[:4])[1][2] == mean_interval(curves[:4, 2], resamples=2000).low
    mean, low, high = band(curves[:3])  # the range
    assert mean.tolist() == curves[:3].mean(0).tolist()
    assert list(low) == list(curves[:3].min(0)) and list(high) == list(curves[:3].max(0))
