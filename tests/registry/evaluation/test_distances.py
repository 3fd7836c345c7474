"""Distances between sets of features: against torch-fidelity, against closed forms, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from registry.evaluation.distances import (
    FrechetReference,
    KernelReference,
    frechet_distance,
    inception_score,
    kernel_distance,
)
from registry.evaluation.features import EvaluationError


def features(count, width=32, shift=0.0, seed=0):
    generator = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(size=(width, width)) / np.sqrt(width)
    return (generator.normal(size=(count, width)) @ mixing + shift).astype(np.float32)


@pytest.mark.parametrize(("first", "second"), [(300, 200), (40, 500), (500, 40)])
def test_frechet_agrees_with_torch_fidelity(first, second):
    from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric

    a, b = features(first), features(second, shift=0.3, seed=1)
    statistics = [fid_features_to_statistics(torch.from_numpy(x).double()) for x in (a, b)]
    expected = fid_statistics_to_metric(*statistics, False)[KEY_METRIC_FID]
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-4)
    assert frechet_distance(b, a) == pytest.approx(expected, rel=1e-4)


def test_frechet_of_known_normals():
    # One dimension: (m1 - m2)^2 + (s1 - s2)^2, of the samples' own means and deviations.
    a, b = np.random.default_rng(0).normal(2, 3, (500, 1)), np.random.default_rng(1).normal(0, 1, (400, 1))
    expected = (a.mean() - b.mean()) ** 2 + (a.std(ddof=1) - b.std(ddof=1)) ** 2
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)


def test_identical_sets():
    a = features(3000)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    # Unbiased for independent sets, and so a little below zero for one and the same.
    assert -0.01 < kernel_distance(a, a) < 0


def test_kernel_agrees_with_torch_fidelity():
    from torch_fidelity.metric_kid import mmd2

    a, b = features(60).astype(np.float64), features(50, shift=0.3, seed=1).astype(np.float64)

    def kernel(x, y):
        return (x @ y.T / 32 + 1) ** 3

    own_a, own_b = kernel(a, a), kernel(b, b)
    np.fill_diagonal(own_a, 0)
    np.fill_diagonal(own_b, 0)
    expected = own_a.sum() / (60 * 59) + own_b.sum() / (50 * 49) - 2 * kernel(a, b).mean()
    assert kernel_distance(a, b) == pytest.approx(expected, rel=1e-9)
    same = kernel(a[:50], a[:50]), kernel(a[:50], b), kernel(b, b)
    assert kernel_distance(a[:50], b) == pytest.approx(mmd2(*same), rel=1e-6)


def test_kernel_distance_has_no_bias_by_number():
    small = [kernel_distance(features(20, seed=s), features(400, seed=1000)) for s in range(60)]
    assert abs(np.mean(small)) < 3 * np.std(small) / np.sqrt(60)


def test_intervals_hold_the_value_and_narrow_with_the_number():
    reference = features(400, seed=5)
    for kind in (FrechetReference(reference), KernelReference(reference)):
        few, many = (kind.interval(features(n, shift=0.5, seed=n)) for n in (50, 350))
        for found in (few, many):
            assert found.low < found.value < found.high
        assert many.high - many.low < few.high - few.low
        assert kind.interval(features(50, seed=1)) == kind.interval(features(50, seed=1))


def test_interval_covers_resampling():
    reference = FrechetReference(features(2000, seed=7))
    values = [reference.distance(features(100, shift=0.5, seed=s)) for s in range(40)]
    found = reference.interval(features(100, shift=0.5, seed=100))
    assert (found.high - found.low) == pytest.approx(4 * np.std(values), rel=0.5)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (features(1), "samples: 1 sample; a distance needs at least two"),
        (features(0), "samples: 0 samples"),
        (np.full((10, 32), np.nan), "samples: features that are not finite"),
        (np.full((10, 32), np.inf), "not finite"),
        (np.ones((10, 32)), "singular"),
        (np.outer(np.arange(20.0), np.ones(32)), "singular"),
    ],
)
def test_refusals(samples, message):
    for distance in (frechet_distance, kernel_distance):
        with pytest.raises(EvaluationError, match=message):
            distance(samples, features(50))


def test_refused_references():
    with pytest.raises(EvaluationError, match="reference: 1 sample"):
        frechet_distance(features(10), features(1))


def test_inception_score():
    certain = np.full((100, 10), -50.0, np.float32)
    certain[np.arange(100), np.arange(100) % 10] = 50
    assert inception_score(certain, splits=1)[0] == pytest.approx(10, rel=1e-3)
    assert inception_score(np.zeros((100, 10), np.float32))[0] == pytest.approx(1)
    with pytest.raises(EvaluationError, match="at least 10 samples"):
        inception_score(certain[:5])


@pytest.mark.parametrize("count", [2, 3, 5])
def test_intervals_of_very_few_samples_are_finite(count):
    random = np.random.default_rng(0)
    found = KernelReference(random.normal(size=(20, 4))).interval(random.normal(size=(count, 4)))
    assert np.isfinite([found.value, found.low, found.high]).all()
    assert found.low - 1e-9 <= found.value <= found.high + 1e-9
