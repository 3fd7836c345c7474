"""Features of clips from features of their frames, and their moments, which are added up batch by batch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["JOINED_FRAMES", "KINDS", "Moments", "changes", "clip_rows", "joined"]

#: Kinds of distances between clips, and the rows of features that each compares: of all frames, one a clip, one a clip.
KINDS = ("fd_changes", "fd_frames", "fd_clips")
#: Frames whose features are joined.
JOINED_FRAMES = 4


def changes(features: np.ndarray) -> np.ndarray:
    """Return how much features change from frame to frame: the mean over t of |phi(x_(t+1)) - phi(x_t)|.

    Args:
        features: Features of frames, (clips, frames, width), of at least two frames.

    Returns:
        One row a clip, (clips, width) float64.
    """
    return np.abs(np.diff(features.astype(np.float64), axis=1)).mean(1)


def joined(features: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return the features of four frames, from the first to the last, each projected to a quarter, side by side.

    All are projected by one matrix of independent normal numbers of variance 1 / width, which the seed determines.

    Args:
        features: Features of frames, (clips, frames, width). Of fewer than four frames, all are joined.
        seed: Seed of the projection.

    Returns:
        One row a clip, (clips, 4 * (width // 4)) float64.
    """
    count, frames, width = features.shape
    number = min(JOINED_FRAMES, frames)
    chosen = np.linspace(0, frames - 1, number).round().astype(int)
    # RandomState's streams are the same in all versions of numpy.
    projection = np.random.RandomState(seed).standard_normal((width, max(1, width // JOINED_FRAMES)))
    projected = features[:, chosen].astype(np.float64) @ (projection / np.sqrt(width))
    return projected.reshape(count, -1)


def clip_rows(features: np.ndarray, seed: int = 0) -> dict[str, np.ndarray]:
    """Return the rows that each kind of distance compares, by the names in :data:`KINDS`.

    Args:
        features: Features of frames, (clips, frames, width).
        seed: Seed of the projection of ``fd_clips``.
    """
    frames = features.reshape(-1, features.shape[-1])
    return {"fd_changes": changes(features), "fd_frames": frames, "fd_clips": joined(features, seed)}


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
