"""Distances between sets of clips, with bootstrap intervals over the clips.

None of them sees the direction of time: reversed clips have the same distances. ``fd_frames`` sees single frames,
``fd_changes`` how much clips change, ``fd_clips`` whether the frames of a clip belong together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from registry.evaluation.clip_features import KINDS, clip_rows
from registry.evaluation.distances import FrechetReference, Interval
from registry.evaluation.features import EvaluationError
from registry.evaluation.moments import Moments

__all__ = ["clip_distances", "clip_moments", "do_not_move"]

#: Largest difference, as a part of the largest feature, that is rounding of equal frames in different batches.
STILL = 1e-5


def clip_moments(batches: Iterable[np.ndarray], seed: int = 0) -> dict[str, Moments]:
    """Return the moments of the rows of all kinds, from features of frames (clips, frames, width) batch by batch."""
    found: dict[str, Moments] = {}
    for features in batches:
        for kind, rows in clip_rows(features, seed).items():
            moments = Moments.of(rows)
            found[kind] = found[kind] + moments if kind in found else moments
    return found


def clip_distances(
    features: np.ndarray, reference: Mapping[str, Moments], seed: int = 0, replicates: int = 100
) -> dict[str, Interval]:
    """Return the Frechet distances of clips from a reference set, by kind: those of :data:`KINDS`, in order.

    Clips that do not move at all have a distance ``fd_changes`` too; see :func:`do_not_move`.

    Args:
        features: Features of the frames, (clips, frames, width).
        reference: Moments of the reference set, as :func:`clip_moments` returns them.
        seed: Seed of the projection of ``fd_clips``.
        replicates: Number of bootstrap resamples; clips are resampled, with all of their frames.

    Raises:
        EvaluationError: There are fewer than two clips, features are not finite, the clips are copies of a few, or the
            clips of the reference do not move.
    """
    rows = clip_rows(features, seed)
    if reference["fd_changes"].mean.max() <= STILL * np.abs(reference["fd_frames"].mean).max():
        raise EvaluationError("reference: the clips do not move")
    found = {}
    for kind in KINDS:
        known = FrechetReference(reference[kind])
        if kind == "fd_changes" and do_not_move(features):
            found[kind] = known.of_equals(rows[kind][0])
        else:
            # Frames are checked for copies. Rows of clips may be singular: frozen clips join equal features.
            frames = kind == "fd_frames"
            together = features.shape[1] if frames else 1
            found[kind] = known.interval(rows[kind], replicates, together=together, checked=frames)
    return found


def do_not_move(features: np.ndarray) -> bool:
    """Return whether all frames of each clip have the same features, (clips, frames, width), up to rounding."""
    return bool(np.abs(features - features[:, :1]).max() <= STILL * np.abs(features).max())
