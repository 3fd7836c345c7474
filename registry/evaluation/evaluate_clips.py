"""Measurement of clips: distances from a reference set, and motions."""

from __future__ import annotations

import datetime
import math
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from registry.environment import environment
from registry.evaluation.clip_distances import clip_distances, do_not_move
from registry.evaluation.clip_sets import ClipSet
from registry.evaluation.distances import FEW
from registry.evaluation.feature_cache import frame_features, reference_moments
from registry.evaluation.features import EvaluationError, Extractor
from registry.evaluation.phases import Progress, counted, silent
from registry.evaluation.results import MOTION_SHARE, Measurement, Metric, MotionCount, Protocol

if TYPE_CHECKING:
    import torch

__all__ = ["PROJECTION_SEED", "count_motions", "evaluate_clips"]

#: Seed of the projection of ``fd_clips``.
PROJECTION_SEED = 0


def evaluate_clips(
    clips: ClipSet,
    reference: ClipSet,
    extractor: Extractor,
    *,
    device: torch.device | str = "cpu",
    progress: Progress = silent,
    facts: Mapping[str, Any] | None = None,
) -> Measurement:
    """Measure the distances of a set of clips from a reference set, and how many move as their classes say.

    Args:
        clips: Clips to measure.
        reference: Clips to compare with; the moments of their features are cached.
        extractor: Network of the features.
        device: Device of the network.
        progress: Called with the name of the current phase, the amount done and the total amount.
        facts: Further fields of the :class:`Measurement`, such as the entry and its hashes.

    Raises:
        EvaluationError: The sets cannot be compared.
    """
    import numpy as np

    if clips.count < 2:
        raise EvaluationError(f"{clips.name}: {clips.count} clip{'s' * (clips.count != 1)}; a distance needs two")
    if clips.size != reference.size:
        raise EvaluationError(f"{clips.name} has clips of {clips.size}, {reference.name} of {reference.size}")
    advance = counted(progress, "reference", reference.count)
    moments = reference_moments(reference, extractor, PROJECTION_SEED, device=device, progress=advance)
    advance = counted(progress, "features", clips.count)
    features = np.concatenate([*frame_features(extractor, clips.batches(), device=device, progress=advance)])
    distances = clip_distances(features, moments, PROJECTION_SEED)
    metrics = {
        f"{kind}_{extractor.name}": Metric(value=found.value, low=found.low, high=found.high)
        for kind, found in distances.items()
    }
    motions = count_motions(clips, reference)
    given = {"weights": clips.sha256[:16]} | dict(facts or {})
    return Measurement(
        protocol=_protocol(clips, reference, extractor),
        metrics=metrics | _motion_share(motions),
        motions=motions,
        warnings=_warnings(clips, reference, do_not_move(features)),
        environment=environment(device),
        data_licence=reference.licence,
        date=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        **given,
    )


def _protocol(clips: ClipSet, reference: ClipSet, extractor: Extractor) -> Protocol:
    return Protocol(
        features=extractor.name,
        features_sha256=extractor.sha256,
        resize=extractor.resize,
        resolution=clips.size.side,
        samples=clips.count,
        reference=reference.name,
        reference_split=reference.split,
        reference_count=reference.count,
        reference_sha256=reference.sha256,
        resizing=clips.resizing or reference.resizing,
        frames=clips.size.frames,
        rate=reference.rate,
        projection_seed=PROJECTION_SEED,
    )


def _warnings(clips: ClipSet, reference: ClipSet, still: bool) -> tuple[str, ...]:
    """Return notes on how to read the distances."""
    notes = [f"{clips.name}: the clips do not move"] if still else []
    count = min(clips.count, reference.count)
    if count < FEW:
        what = f"{count:,} clips{' of the reference' * (reference.count < clips.count)}"
        notes.append(
            f"{what}: below {FEW:,}, distances depend on the number of clips; compare only numbers with equal counts"
        )
    return tuple(notes)


def count_motions(clips: ClipSet, reference: ClipSet) -> dict[str, MotionCount]:
    """Return how many clips move as their class says, by class; empty if the classes are no motions."""
    from registry.evaluation.motion import are_motions

    if not (are_motions(clips.classes) and are_motions(reference.classes)):
        return {}
    samples, right = _counts(clips)
    known, known_right = _counts(reference)
    return {
        name: MotionCount(
            samples=samples[name], right=right[name], reference=known[name], reference_right=known_right[name]
        )
        for name in reference.classes
    }


def _counts(clips: ClipSet) -> tuple[Counter[str], Counter[str]]:
    """Return the number of clips of each class, and the number of those that move as it says."""
    from registry.evaluation.motion import motions_of, names_of

    found = [name for batch in clips.batches() for name in names_of(motions_of(batch))]
    right = (name for name, moved in zip(clips.names, found, strict=True) if name == moved)
    return Counter(clips.names), Counter(right)


def _motion_share(motions: Mapping[str, MotionCount]) -> dict[str, Metric]:
    """Return the share of samples that move as their class says, and the same of the reference."""
    samples = sum(each.samples for each in motions.values()), sum(each.right for each in motions.values())
    known = sum(each.reference for each in motions.values()), sum(each.reference_right for each in motions.values())
    shares = {MOTION_SHARE: samples, f"{MOTION_SHARE}_reference": known}
    return {name: _share(right, count) for name, (count, right) in shares.items() if count}


def _share(right: int, count: int) -> Metric:
    """Return a share with its 95 % interval (Wilson, 1927)."""
    share, z = right / count, 1.96
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * math.sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2) / (1 + z * z / count)
    return Metric(value=share, low=max(0.0, middle - half), high=min(1.0, middle + half))
