"""Features of clips from features of their frames."""

from __future__ import annotations

import numpy as np

__all__ = ["JOINED_FRAMES", "KINDS", "changes", "clip_rows", "joined"]

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
