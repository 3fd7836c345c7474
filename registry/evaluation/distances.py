"""Distances between two sets of features: Frechet, kernel (KID), inception score, and their bootstrap intervals.

Frechet distance of two normal distributions: |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)) (Heusel et al., arXiv
1706.08500). KID: the unbiased squared maximum mean discrepancy with the kernel (x.y / d + 1)^3 (Binkowski et al.,
arXiv 1801.01401). Inception score: exp of the mean KL divergence of class predictions from their mean (Salimans et
al., arXiv 1606.03498).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from registry.evaluation.features import EvaluationError

__all__ = ["FrechetReference", "Interval", "KernelReference", "frechet_distance", "inception_score", "kernel_distance"]

#: Eigenvalues below this share of the largest count as zero.
RANK = 1e-12


@dataclass(frozen=True, slots=True)
class Interval:
    """A value and the 95 % bootstrap interval of its sampling noise."""

    value: float
    low: float
    high: float


def check_features(features: np.ndarray, what: str) -> np.ndarray:
    """The features (N, d) as float64.

    Raises:
        EvaluationError: fewer than two samples, values that are not finite, or a covariance that is singular beyond
            what the number of samples explains, as where all samples are alike.
    """
    if features.ndim != 2 or len(features) < 2:
        count = len(features) if features.ndim else 0
        raise EvaluationError(f"{what}: {count} sample{'s' * (count != 1)}; a distance needs at least two")
    if not np.isfinite(features).all():
        raise EvaluationError(f"{what}: features that are not finite")
    features = features.astype(np.float64)
    distinct = len(np.unique(features, axis=0))
    centred = features - features.mean(0)
    varying = int((centred.std(0) > 0).sum())
    gram = centred @ centred.T if len(features) < features.shape[1] else centred.T @ centred
    eigenvalues = np.linalg.eigvalsh(gram)
    rank = int((eigenvalues > RANK * max(eigenvalues[-1], 0)).sum()) if eigenvalues[-1] > 0 else 0
    if rank < max(1, min(distinct - 1, varying) // 2):
        raise EvaluationError(
            f"{what}: the covariance of {len(features)} samples is singular (rank {rank}, {distinct} of them "
            "distinct); the samples are copies of a few images"
        )
    return features


class FrechetReference:
    """The reference set of a Frechet distance, its root taken once.

    Args:
        features: (N, d).
    """

    def __init__(self, features: np.ndarray) -> None:
        features = check_features(features, "reference")
        self.count = len(features)
        self.mean = features.mean(0)
        covariance = np.atleast_2d(np.cov(features, rowvar=False))
        self.trace = float(np.trace(covariance))
        values, vectors = np.linalg.eigh(covariance)
        self.root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T

    def distance(self, features: np.ndarray) -> float:
        """The distance of (N, d) features to the reference."""
        return _Frechet(self, check_features(features, "samples")).at(None)

    def interval(self, features: np.ndarray, replicates: int = 100, seed: int = 0) -> Interval:
        """The distance with its interval over resampled samples; the reference is held fixed.

        Resampling repeats samples and so raises every replicate alike; the replicates' spread is what counts, and it
        is set around the value.
        """
        frechet = _Frechet(self, check_features(features, "samples"))
        value = frechet.at(None)
        generator = np.random.default_rng(seed)
        found = [frechet.at(generator.integers(0, len(features), len(features))) for _ in range(replicates)]
        return _around(value, np.array(found))


class _Frechet:
    """Distances of resamples of one set: the products with the reference's root are taken once."""

    def __init__(self, reference: FrechetReference, features: np.ndarray) -> None:
        self.reference, self.features = reference, features
        self.rooted = features @ reference.root
        self.wide = len(features) < features.shape[1]
        if self.wide:
            self.gram = self.rooted @ self.rooted.T
            self.squares = np.einsum("ij,ij->i", features, features)

    def at(self, rows: np.ndarray | None) -> float:
        rows = np.arange(len(self.features)) if rows is None else rows
        count = len(rows)
        weights = np.bincount(rows, minlength=len(self.features)) / count
        mean = weights @ self.features
        scale = count / (count - 1)
        # tr (S1 S2)^(1/2) is the sum of the singular values of (X - mean) S2^(1/2) / sqrt(n - 1).
        if self.wide:
            trace = scale * float(weights @ self.squares - mean @ mean)
            gram = self.gram[np.ix_(rows, rows)]
            gram = gram - gram.mean(0) - gram.mean(1)[:, None] + gram.mean()
        else:
            centred = self.features[rows] - mean
            trace = float(np.einsum("ij,ij->", centred, centred)) / (count - 1)
            product = self.rooted[rows] - weights @ self.rooted
            gram = product.T @ product
        cross = float(np.sqrt(np.linalg.eigvalsh(gram / (count - 1)).clip(min=0)).sum())
        shift = mean - self.reference.mean
        return float(shift @ shift) + trace + self.reference.trace - 2 * cross


def frechet_distance(samples: np.ndarray, reference: np.ndarray) -> float:
    """Frechet distance of two sets of features (N, d) and (M, d).

    Raises:
        EvaluationError: a set that has no distance; see :func:`check_features`.
    """
    return FrechetReference(reference).distance(samples)


class KernelReference:
    """The reference set of a kernel distance.

    Args:
        features: (M, d); with more than ``most`` of them, a fixed random part of that many is used, here and of the
            samples, to bound memory.
    """

    def __init__(self, features: np.ndarray, most: int = 5000) -> None:
        self.most = most
        self.features = self._part(check_features(features, "reference"))
        self.count = len(self.features)
        kernel = _kernel(self.features, self.features)
        self.own = float((kernel.sum() - np.trace(kernel)) / (self.count * (self.count - 1)))

    def _part(self, features: np.ndarray) -> np.ndarray:
        if len(features) <= self.most:
            return features
        return features[np.random.default_rng(0).permutation(len(features))[: self.most]]

    def interval(self, features: np.ndarray, replicates: int = 1000, seed: int = 0) -> Interval:
        """The distance with its interval over resampled samples; the reference is held fixed."""
        features = self._part(check_features(features, "samples"))
        count = len(features)
        own = _kernel(features, features)
        np.fill_diagonal(own, 0)
        cross = _kernel(features, self.features).mean(1)
        value = own.sum() / (count * (count - 1)) + self.own - 2 * cross.mean()
        generator = np.random.default_rng(seed)
        weights = generator.multinomial(count, np.full(count, 1 / count), replicates).astype(np.float64)
        # A sample drawn twice is no pair of samples: the diagonal stays out, in the sum and in the number of pairs.
        pairs = count**2 - (weights**2).sum(1)
        # A resample of one sample alone, as happens with few, has no pair and no distance.
        weights, pairs = weights[pairs > 0], pairs[pairs > 0]
        found = np.einsum("ri,ij,rj->r", weights, own, weights, optimize=True) / pairs
        return _around(float(value), found + self.own - 2 * weights @ cross / count)

    def distance(self, features: np.ndarray) -> float:
        """The distance of (N, d) features to the reference."""
        return self.interval(features, replicates=2).value


def kernel_distance(samples: np.ndarray, reference: np.ndarray) -> float:
    """Unbiased squared kernel distance (KID) of two sets of features (N, d) and (M, d).

    Raises:
        EvaluationError: a set that has no distance; see :func:`check_features`.
    """
    return KernelReference(reference).distance(samples)


def inception_score(logits: np.ndarray, splits: int = 10) -> tuple[float, float]:
    """Mean and deviation of the inception score over parts of the samples' class logits (N, classes).

    Raises:
        EvaluationError: fewer samples than parts.
    """
    import torch
    from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, KEY_METRIC_ISC_STD, isc_features_to_metric

    if len(logits) < splits:
        raise EvaluationError(f"an inception score over {splits} parts needs at least {splits} samples")
    found = isc_features_to_metric(torch.from_numpy(logits), splits=splits)
    return found[KEY_METRIC_ISC_MEAN], found[KEY_METRIC_ISC_STD]


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The polynomial kernel (x.y / d + 1)^3 of all pairs."""
    return (x @ y.T / x.shape[1] + 1) ** 3


def _around(value: float, replicates: np.ndarray) -> Interval:
    low, high = np.quantile(replicates, (0.025, 0.975)) - replicates.mean()
    return Interval(value, value + float(low), value + float(high))
