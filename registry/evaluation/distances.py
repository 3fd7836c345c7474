"""Distances between two sets of features, with bootstrap intervals: Frechet distance and KID; the inception score.

Frechet distance between two normal distributions: |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)) (Heusel et al., arXiv
1706.08500). KID: unbiased squared maximum mean discrepancy with the kernel (x.y / d + 1)^3 (Binkowski et al., arXiv
1801.01401). Inception score: exp of the mean KL divergence between class predictions and their mean (Salimans et al.,
arXiv 1606.03498).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from registry.evaluation.features import EvaluationError
from registry.evaluation.moments import Moments

__all__ = [
    "FEW",
    "FrechetReference",
    "Interval",
    "KernelReference",
    "frechet_distance",
    "inception_score",
    "kernel_distance",
]

#: Below this many samples, a Frechet distance depends more on their number than on their quality.
FEW = 5000
#: Eigenvalues below this fraction of the largest count as zero.
RANK = 1e-12


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with its 95 % bootstrap interval over the samples."""

    value: float
    low: float
    high: float


def check_features(features: np.ndarray, what: str) -> np.ndarray:
    """Check features and return them as float64.

    Args:
        features: Features, (N, d).
        what: Name of the set in messages.

    Raises:
        EvaluationError: Fewer than two samples, values that are not finite, or a covariance whose rank is much lower
            than the number of samples explains, as when all samples are alike.
    """
    if features.ndim != 2 or len(features) < 2:
        count = len(features) if features.ndim else 0
        raise EvaluationError(f"{what}: {count} sample{'s' * (count != 1)}; a distance needs at least two")
    if not np.isfinite(features).all():
        raise EvaluationError(f"{what}: features that are not finite")
    features = features.astype(np.float64)
    distinct = len(np.unique(features, axis=0))
    centered = features - features.mean(0)
    varying = int((centered.std(0) > 0).sum())
    gram = centered @ centered.T if len(features) < features.shape[1] else centered.T @ centered
    eigenvalues = np.linalg.eigvalsh(gram)
    rank = int((eigenvalues > RANK * max(eigenvalues[-1], 0)).sum())
    if rank < max(1, min(distinct - 1, varying) // 2):
        raise EvaluationError(
            f"{what}: the covariance of {len(features)} samples is singular (rank {rank}, {distinct} of them "
            "distinct); the samples are copies of a few images"
        )
    return features


class FrechetReference:
    """The reference set of a Frechet distance; the square root of its covariance is computed once.

    Args:
        features: Features of the reference set, (M, d), or their moments.

    Raises:
        EvaluationError: The set is too small, not finite or degenerate; of moments, if they are not finite or all
            features are equal.
    """

    def __init__(self, features: np.ndarray | Moments) -> None:
        if isinstance(features, Moments):
            covariance = _checked_covariance(features)
            self.count, self.mean = features.count, features.mean
        else:
            features = check_features(features, "reference")
            self.count, self.mean = len(features), features.mean(0)
            covariance = np.atleast_2d(np.cov(features, rowvar=False))
        self.trace = float(np.trace(covariance))
        values, vectors = np.linalg.eigh(covariance)
        self.root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T

    def distance(self, features: np.ndarray) -> float:
        """Return the distance of features (N, d) from the reference."""
        features = check_features(features, "samples")
        return _Frechet(self, features).at(np.arange(len(features)))

    def interval(
        self,
        features: np.ndarray,
        replicates: int = 100,
        seed: int = 0,
        *,
        together: int = 1,
        checked: bool = True,
    ) -> Interval:
        """Return the distance of features (N, d) with its interval over resampled samples; the reference is fixed.

        Resampling repeats samples, which raises the distance of every replicate. Only the spread of the replicates is
        used; the interval is centered on the value.

        Args:
            features: Features of the samples, (N, d).
            replicates: Number of resamples.
            seed: Seed of the resampling.
            together: Number of consecutive rows that are one sample, such as the frames of a clip.
            checked: Whether to refuse samples that are copies of a few.

        Raises:
            EvaluationError: The samples are too few, not finite or degenerate; see :func:`check_features`.
        """
        features = check_features(features, "samples") if checked else features.astype(np.float64)
        frechet, count = _Frechet(self, features), len(features) // together
        generator = np.random.default_rng(seed)
        rows = (generator.integers(0, count, count) for _ in range(replicates))
        members = np.arange(together)
        found = [frechet.at((drawn[:, None] * together + members).ravel()) for drawn in rows]
        return _around(frechet.at(np.arange(len(features))), np.array(found))

    def of_equals(self, features: np.ndarray) -> Interval:
        """Return the distance of samples that all have the same features (d,), whose covariance is zero."""
        shift = features.astype(np.float64) - self.mean
        value = float(shift @ shift + self.trace)
        return Interval(value, value, value)


def _checked_covariance(moments: Moments) -> np.ndarray:
    """Return the covariance of a reference set.

    Raises:
        EvaluationError: There are fewer than two samples, they are not finite, or all are equal.
    """
    if moments.count < 2:
        raise EvaluationError(f"reference: {moments.count} samples; a distance needs at least two")
    covariance = moments.covariance
    if not (np.isfinite(moments.mean).all() and np.isfinite(covariance).all()):
        raise EvaluationError("reference: features that are not finite")
    if not covariance.any():
        raise EvaluationError("reference: all samples have the same features")
    return covariance


class _Frechet:
    """Distances of resamples of one set; the products with the reference's root are computed once.

    Args:
        reference: Reference set, with mean m2 (d,) and root S2^(1/2) (d, d).
        features: Features of the samples, (N, d).
    """

    def __init__(self, reference: FrechetReference, features: np.ndarray) -> None:
        self.reference, self.features = reference, features
        self.rooted = features @ reference.root  # (N, d): X S2^(1/2)
        self.wide = len(features) < features.shape[1]
        if self.wide:
            self.gram = self.rooted @ self.rooted.T  # (N, N)
            self.squares = np.einsum("ij,ij->i", features, features)  # (N,): |x|^2

    def at(self, rows: np.ndarray) -> float:
        """Return the distance of a resample.

        Args:
            rows: Indices (n,) of the samples, repeated ones included.
        """
        count = len(rows)
        weights = np.bincount(rows, minlength=len(self.features)) / count  # (N,), sums to 1
        mean = weights @ self.features  # (d,): m1
        # tr (S1 S2)^(1/2) is the sum of the singular values of (X - m1) S2^(1/2) / sqrt(n - 1), that is of the roots of
        # the eigenvalues of its Gram matrix: (n, n) where there are fewer samples than features, else (d, d).
        if self.wide:
            trace = count / (count - 1) * (weights @ self.squares - mean @ mean)  # tr S1
            gram = self.gram[np.ix_(rows, rows)]  # (n, n), not centered
            gram = gram - gram.mean(0) - gram.mean(1)[:, None] + gram.mean()
        else:
            centered = self.features[rows] - mean  # (n, d)
            trace = np.einsum("ij,ij->", centered, centered) / (count - 1)  # tr S1
            product = self.rooted[rows] - weights @ self.rooted  # (n, d)
            gram = product.T @ product  # (d, d)
        cross = np.sqrt(np.linalg.eigvalsh(gram / (count - 1)).clip(min=0)).sum()  # tr (S1 S2)^(1/2)
        shift = mean - self.reference.mean  # (d,): m1 - m2
        return float(shift @ shift + trace + self.reference.trace - 2 * cross)


def frechet_distance(samples: np.ndarray, reference: np.ndarray) -> float:
    """Return the Frechet distance between two sets of features, (N, d) and (M, d).

    Raises:
        EvaluationError: A set is too small, not finite or degenerate; see :func:`check_features`.
    """
    return FrechetReference(reference).distance(samples)


class KernelReference:
    """The reference set of a kernel distance.

    Args:
        features: Features of the reference set, (M, d).
        most: Largest number of features to use, to bound memory. Of larger sets, the samples included, a fixed random
            subset of this size is used.
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
        """Return the distance of features (N, d) with its interval over resampled samples; the reference is fixed."""
        features = self._part(check_features(features, "samples"))
        count = len(features)
        own = _kernel(features, features)  # (N, N)
        np.fill_diagonal(own, 0)
        cross = _kernel(features, self.features).mean(1)  # (N,)
        value = own.sum() / (count * (count - 1)) + self.own - 2 * cross.mean()
        generator = np.random.default_rng(seed)
        weights = generator.multinomial(count, np.full(count, 1 / count), replicates).astype(np.float64)
        # A sample drawn twice is not a pair: the diagonal is left out of the sum and of the number of pairs (R,).
        pairs = count**2 - (weights**2).sum(1)
        # A resample that repeats a single sample, as happens with very few, has no pairs and no distance.
        weights, pairs = weights[pairs > 0], pairs[pairs > 0]
        found = np.einsum("ri,ij,rj->r", weights, own, weights, optimize=True) / pairs
        return _around(float(value), found + self.own - 2 * weights @ cross / count)

    def distance(self, features: np.ndarray) -> float:
        """Return the distance of features (N, d) from the reference."""
        return self.interval(features, replicates=2).value


def kernel_distance(samples: np.ndarray, reference: np.ndarray) -> float:
    """Return the unbiased squared kernel distance (KID) between two sets of features, (N, d) and (M, d).

    Raises:
        EvaluationError: A set is too small, not finite or degenerate; see :func:`check_features`.
    """
    return KernelReference(reference).distance(samples)


def inception_score(logits: np.ndarray, splits: int = 10) -> tuple[float, float]:
    """Return the mean and the standard deviation of the inception score over splits of the samples.

    Args:
        logits: Class logits of the samples, (N, classes).
        splits: Number of parts.

    Raises:
        EvaluationError: There are fewer samples than parts.
    """
    import torch
    from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, KEY_METRIC_ISC_STD, isc_features_to_metric

    if len(logits) < splits:
        raise EvaluationError(f"an inception score over {splits} parts needs at least {splits} samples")
    found = isc_features_to_metric(torch.from_numpy(logits), splits=splits)
    return found[KEY_METRIC_ISC_MEAN], found[KEY_METRIC_ISC_STD]


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the polynomial kernel (x.y / d + 1)^3 of all pairs, (N, M)."""
    return (x @ y.T / x.shape[1] + 1) ** 3


def _around(value: float, replicates: np.ndarray) -> Interval:
    """Return a value with the spread of its replicates around it."""
    low, high = np.quantile(replicates, (0.025, 0.975)) - replicates.mean()
    return Interval(value, value + float(low), value + float(high))
