"""Number, mean and covariance of features, which are added up batch by batch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Moments"]


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Number, mean and covariance of rows that need not be in memory at once.

    Attributes:
        count: Number of rows.
        mean: Their mean, (d,) float64.
        scatter: Sum of the outer products of their deviations from the mean, (d, d) float64.
    """

    count: int
    mean: np.ndarray
    scatter: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray) -> Moments:
        """Return the moments of rows (n, d)."""
        rows = rows.astype(np.float64)
        mean = rows.mean(0)
        deviations = rows - mean
        return cls(len(rows), mean, deviations.T @ deviations)

    def __add__(self, other: Moments) -> Moments:
        """Return the moments of the rows of both (Chan, Golub and LeVeque, 1979)."""
        count = self.count + other.count
        shift = other.mean - self.mean
        mean = self.mean + shift * (other.count / count)
        apart = np.outer(shift, shift) * (self.count * other.count / count)
        return Moments(count, mean, self.scatter + other.scatter + apart)

    @property
    def covariance(self) -> np.ndarray:
        """Unbiased covariance, (d, d)."""
        return self.scatter / max(self.count - 1, 1)
