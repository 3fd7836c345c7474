"""Distances and their bootstrap intervals, written out sample by sample, and which sets have none."""

from __future__ import annotations

import numpy as np
import pytest

from registry.evaluation.distances import (
    FrechetReference,
    KernelReference,
    check_features,
    frechet_distance,
    inception_score,
    kernel_distance,
)
from registry.evaluation.features import EvaluationError
from registry.evaluation.moments import Moments


def normals(count: int, width: int = 6, seed: int = 0, shift: float = 0.0, scale: float = 1.0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(size=(width, width))
    return scale * (generator.normal(size=(count, width)) @ mixing + shift)


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)) (arXiv 1706.08500), the root from the eigenvalues of S1 S2."""
    first, second = (np.atleast_2d(np.cov(each, rowvar=False)) for each in (a, b))
    root = np.sqrt(np.linalg.eigvals(first @ second).real.clip(0)).sum()
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(first) + np.trace(second) - 2 * root)


@pytest.mark.parametrize("width", [1, 6])
@pytest.mark.parametrize("count", [2, 4, 6, 7, 40])
def test_frechet_distance(count, width):
    """With fewer samples than features, as many, and more."""
    samples, reference = normals(count, width, shift=0.5), normals(30, width, seed=1, scale=0.3)
    found = frechet_distance(samples, reference)
    assert type(found) is float
    assert found == pytest.approx(frechet(samples, reference), rel=1e-6)
    assert FrechetReference(reference).distance(samples.astype(np.float32)) == pytest.approx(found, rel=1e-3)


def test_references_with_fewer_samples_than_features():
    """Their covariance has no full rank, and rounding puts eigenvalues on both sides of zero."""
    samples, reference = normals(50, 16, shift=0.5), normals(9, 16, seed=1)
    assert FrechetReference(reference).count == 9
    assert frechet_distance(samples, reference) == pytest.approx(frechet(samples, reference), rel=1e-5)
    assert frechet_distance(samples[:12], reference) == pytest.approx(frechet(samples[:12], reference), rel=1e-5)


@pytest.mark.parametrize("count", [2, 5, 30])
def test_references_from_moments(count):
    """Those of two samples are enough."""
    samples, reference = normals(9, shift=0.5), normals(count, seed=1)
    known = FrechetReference(Moments.of(reference))
    assert known.count == count and known.mean == pytest.approx(reference.mean(0))
    assert known.distance(samples) == pytest.approx(frechet(samples, reference), rel=1e-5)


@pytest.mark.parametrize("mean", [0.0, np.inf])
def test_moments_that_are_not_finite(mean):
    with pytest.raises(EvaluationError, match="reference: features that are not finite"):
        FrechetReference(Moments(3, np.full(2, mean), np.full((2, 2), np.nan if mean == 0 else 1.0)))


def test_distance_of_equal_samples():
    """Their covariance is zero: |x - m2|^2 + tr S2."""
    reference, point = normals(30, seed=1), np.arange(6, dtype=np.float32)
    value = ((point - reference.mean(0)) ** 2).sum() + np.cov(reference, rowvar=False).trace()
    found = FrechetReference(reference).of_equals(point)
    assert type(found.value) is float
    assert (found.value, found.low, found.high) == (pytest.approx(value, rel=1e-12),) * 3


def around(value: float, replicates: list[float]) -> tuple[float, float, float]:
    """The spread of the middle 95 % of the replicates about their mean, set around the value."""
    ordered = np.sort(replicates)
    low, high = (np.interp(share * (len(ordered) - 1), np.arange(len(ordered)), ordered) for share in (0.025, 0.975))
    return value, value + low - ordered.mean(), value + high - ordered.mean()


@pytest.mark.parametrize("count", [5, 6, 30])
@pytest.mark.parametrize(("replicates", "seed"), [(20, 0), (7, 3)])
def test_frechet_interval(count, replicates, seed):
    """Samples are drawn again with replacement; the reference stays."""
    samples, reference = normals(count, shift=0.5), normals(40, seed=1)
    generator = np.random.default_rng(seed)
    again = [frechet(samples[generator.integers(0, count, count)], reference) for _ in range(replicates)]
    found = FrechetReference(reference).interval(samples, replicates, seed)
    assert (found.value, found.low, found.high) == pytest.approx(around(frechet(samples, reference), again), rel=1e-5)


def test_frechet_interval_of_rows_that_belong_together():
    """Three consecutive rows are drawn with one another."""
    samples, reference = normals(15, shift=0.5), normals(40, seed=1)
    generator = np.random.default_rng(3)
    drawn = [samples.reshape(5, 3, 6)[generator.integers(0, 5, 5)].reshape(15, 6) for _ in range(20)]
    expected = around(frechet(samples, reference), [frechet(each, reference) for each in drawn])
    found = FrechetReference(reference).interval(samples, 20, 3, together=3)
    assert (found.value, found.low, found.high) == pytest.approx(expected, rel=1e-5)


def test_copies_of_a_few_samples_may_be_compared():
    samples, reference = np.repeat(lines(5, 1), 4, axis=0).astype(np.float32), normals(40, 8, seed=1)
    with pytest.raises(EvaluationError, match="copies of a few images"):
        FrechetReference(reference).interval(samples)
    found = FrechetReference(reference).interval(samples, 5, checked=False)
    assert found.value == pytest.approx(frechet(samples.astype(np.float64), reference), rel=1e-5)


def test_defaults_of_intervals():
    samples = normals(12, shift=0.5)
    for reference, replicates in ((FrechetReference(normals(40)), 100), (KernelReference(normals(40)), 1000)):
        assert reference.interval(samples) == reference.interval(samples, replicates=replicates, seed=0)
        assert reference.interval(samples) != reference.interval(samples, replicates=replicates + 1)
        assert reference.interval(samples) != reference.interval(samples, seed=1)


def kernel(x: np.ndarray, y: np.ndarray) -> float:
    """The kernel of two samples (arXiv 1801.01401, section 4)."""
    return (sum(a * b for a, b in zip(x, y, strict=True)) / len(x) + 1) ** 3


def mmd(samples: np.ndarray, reference: np.ndarray, drawn: np.ndarray | None = None) -> float:
    """The unbiased squared MMD, pair by pair; a sample drawn twice makes no pair with itself."""
    drawn = np.arange(len(samples)) if drawn is None else drawn
    own = [kernel(samples[i], samples[j]) for i in drawn for j in drawn if i != j]
    others = [kernel(a, b) for i, a in enumerate(reference) for j, b in enumerate(reference) if i != j]
    cross = [kernel(samples[i], b) for i in drawn for b in reference]
    return float(np.mean(own) + np.mean(others) - 2 * np.mean(cross))


@pytest.mark.parametrize("count", [2, 3, 9])
def test_kernel_distance(count):
    samples, reference = normals(count, 4, shift=0.5), normals(11, 4, seed=1)
    found = kernel_distance(samples, reference)
    assert type(found) is float and found == pytest.approx(mmd(samples, reference), rel=1e-9)
    assert KernelReference(reference).count == 11


@pytest.mark.parametrize("count", [2, 4, 9])
def test_kernel_interval(count):
    samples, reference = normals(count, 4, shift=0.5), normals(11, 4, seed=1)
    generator = np.random.default_rng(5)
    drawn = [np.repeat(np.arange(count), generator.multinomial(count, np.full(count, 1 / count))) for _ in range(25)]
    # A resample of one sample alone has no pair.
    again = [mmd(samples, reference, each) for each in drawn if len(set(each)) > 1]
    assert len(again) < 25 or count > 2
    found = KernelReference(reference).interval(samples, replicates=25, seed=5)
    assert type(found.value) is float
    assert (found.value, found.low, found.high) == pytest.approx(around(mmd(samples, reference), again), rel=1e-6)


def test_a_part_of_many_features_is_used():
    """The same random part each time, of the reference and of the samples."""
    samples, reference = normals(30, 4, shift=0.5), normals(20, 4, seed=1)
    part = KernelReference(reference, most=8)
    assert part.count == 8 and part.features.shape == (8, 4)
    rows = {tuple(row) for row in reference}
    assert all(tuple(row) in rows for row in part.features) and len({tuple(row) for row in part.features}) == 8
    assert not np.array_equal(part.features, reference[:8])
    assert np.array_equal(part.features, KernelReference(reference, most=8).features)
    expected = mmd(samples[np.random.default_rng(0).permutation(30)[:8]], part.features)
    assert part.distance(samples) == pytest.approx(expected, rel=1e-9)
    # With no more than that, all of them, in their order.
    assert np.array_equal(KernelReference(reference, most=20).features, reference)


def test_inception_score():
    """exp of the mean KL divergence of each part, over parts of torch-fidelity's own shuffle (arXiv 1606.03498)."""
    logits = 2 * normals(40, 5).astype(np.float32)
    shuffled = logits[np.random.RandomState(2020).permutation(40)].astype(np.float64)

    def expected(splits):
        scores = []
        for part in np.split(shuffled, splits):
            p = np.exp(part) / np.exp(part).sum(1, keepdims=True)
            scores.append(np.exp((p * (np.log(p) - np.log(p.mean(0)))).sum(1).mean()))
        return np.mean(scores), np.std(scores)

    for splits in (1, 4, 10, 40):
        assert inception_score(logits, splits) == pytest.approx(expected(splits), rel=1e-4, abs=1e-6)
    assert inception_score(logits) == pytest.approx(expected(10), rel=1e-4)


def lines(count: int, rank: int, width: int = 8) -> np.ndarray:
    """``count`` different points that vary in all of 8 features, in a space of ``rank`` dimensions."""
    generator = np.random.default_rng(1)
    return generator.normal(size=(count, rank)) @ generator.normal(size=(rank, width))


@pytest.mark.parametrize(
    "features",
    [
        # Half the rank that the samples could have is enough.
        lines(20, 4), lines(20, 8), lines(6, 2), lines(2, 1), lines(3, 1),
        # Two of eight features vary.
        lines(20, 1) * np.array([1, 1, 0, 0, 0, 0, 0, 0]) + 1,
        # Whatever the scale, of which only ratios count.
        1e-8 * lines(20, 8), 1e8 * lines(20, 8), 1e-8 * lines(6, 5),
        # Copies of few images, which differ as much as they can.
        np.repeat(lines(3, 8), 7, axis=0), np.repeat(lines(2, 8), 7, axis=0),
        # Of which a part varies a hundred thousand times less than the rest.
        lines(20, 8) * np.array([1e5, 1, 1, 1, 1, 1, 1, 1]),
    ],
)  # fmt: skip
def test_sets_that_have_a_distance(features):
    found = check_features(features.astype(np.float64), "x")
    assert found.dtype == np.float64 and np.array_equal(found, features)
    assert check_features(features.astype(np.float32), "x").dtype == np.float64


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (lines(20, 3), r"x: the covariance of 20 samples is singular \(rank 3, 20 of them distinct\)"),
        (1e3 * lines(20, 3), "rank 3"),
        (lines(5, 1), r"singular \(rank 1, 5 of them distinct\)"),
        (lines(40, 1, width=4), r"singular \(rank 1, 40 of them distinct\)"),
        (np.repeat(lines(5, 1), 4, axis=0), r"20 samples is singular \(rank 1, 5 of them distinct\)"),
        # All but one feature vary too little to count.
        (lines(20, 8) * np.array([1e9, 1, 1, 1, 1, 1, 1, 1]), "rank 1"),
        (np.ones((10, 8)), r"singular \(rank 0, 1 of them distinct\)"),
        (np.zeros((3, 8)), r"singular \(rank 0, 1 of them distinct\)"),
        (lines(1, 1), "x: 1 sample; a distance needs at least two"),
        (np.zeros((0, 3)), "x: 0 samples; a distance needs"),
        (np.zeros(7), "x: 7 samples; a distance needs"),
        (np.array(1.0), "x: 0 samples; a distance needs"),
        (np.zeros((4, 2, 2)), "x: 4 samples; a distance needs"),
        (np.array([[0.0, np.nan], [1.0, 2.0], [3.0, 0.5]]), "x: features that are not finite"),
        (np.array([[0.0, np.inf], [1.0, 2.0], [3.0, 0.5]]), "x: features that are not finite"),
    ],
)
def test_sets_that_have_none(features, message):
    with pytest.raises(EvaluationError, match=message):
        check_features(features, "x")


@pytest.mark.parametrize("kind", [FrechetReference, KernelReference])
def test_which_set_is_wrong_is_said(kind):
    good, bad = normals(9), normals(1)
    with pytest.raises(EvaluationError, match=r"^reference: 1 sample;"):
        kind(bad)
    for method in (kind(good).distance, kind(good).interval):
        with pytest.raises(EvaluationError, match=r"^samples: 1 sample;"):
            method(bad)
