"""Features of reference images and moments of reference clips, cached on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from builders.files import cache_folder, replacing
from registry.evaluation.clip_distances import clip_moments
from registry.evaluation.clip_features import KINDS
from registry.evaluation.clip_sets import ClipSet
from registry.evaluation.features import Extractor, extract
from registry.evaluation.image_sets import ImageSet
from registry.evaluation.moments import Moments

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

#: Frames per batch of the feature network.
AT_ONCE = 32
__all__ = ["frame_features", "reference_features", "reference_moments"]


def reference_features(
    images: ImageSet,
    extractor: Extractor,
    *,
    device: torch.device | str = "cpu",
    progress: Callable[[int], object] = lambda count: None,
) -> np.ndarray:
    """Return the features of a reference set, (N, width) float32, from the cache if they are in it.

    Args:
        images: Reference set.
        extractor: Network of the features.
        device: Device of the network.
        progress: Called with the number of images of each batch.

    The key of the cache is a hash of the images, the network's weights and the resize mode. A damaged file is
    replaced.
    """
    import numpy as np

    key = hashlib.sha256(f"{images.sha256}:{extractor.name}:{extractor.sha256}:{extractor.resize}".encode())
    path = cache_folder() / f"features-{key.hexdigest()[:32]}.npy"
    if path in _unsaved:
        progress(len(_unsaved[path]))
        return _unsaved[path]
    try:
        found = np.load(path, allow_pickle=False)
        if found.shape == (len(images.images), extractor.width) and np.isfinite(found).all():
            progress(len(found))
            return found
    except (OSError, ValueError, EOFError):
        pass
    features, _ = extract(extractor, images.batches(), device=device, progress=progress)
    _unsaved.clear()
    try:
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.save(file, features)
    except OSError:  # without a writable cache, this process remembers the last ones
        _unsaved[path] = features
    return features


#: Features of the last reference that could not be written to the cache, by its file.
_unsaved: dict[Path, np.ndarray] = {}


def frame_features(
    extractor: Extractor,
    batches: Iterator[Tensor],
    *,
    device: torch.device | str = "cpu",
    progress: Callable[[int], object] = lambda count: None,
) -> Iterator[np.ndarray]:
    """Yield the features of the frames of clips, (clips, frames, width) float32, batch by batch.

    Args:
        extractor: Network of the features.
        batches: Clips in batches, (clips, 3, frames, height, width) uint8.
        device: Device of the network.
        progress: Called with the number of clips of each batch.
    """
    for clips in batches:
        frames = clips.transpose(1, 2).flatten(0, 1)
        features, _ = extract(extractor, iter(frames.split(AT_ONCE)), device=device)
        progress(len(clips))
        yield features.reshape(len(clips), clips.shape[2], -1)


def reference_moments(
    clips: ClipSet,
    extractor: Extractor,
    seed: int,
    *,
    device: torch.device | str = "cpu",
    progress: Callable[[int], object] = lambda count: None,
) -> dict[str, Moments]:
    """Return the moments of the features of reference clips by kind of distance, from the cache if they are in it.

    Args:
        clips: Reference set.
        extractor: Network of the features.
        seed: Seed of the projection of ``fd_clips``.
        device: Device of the network.
        progress: Called with the number of clips of each batch.

    The key of the cache is a hash of the clips, their frames included, the network's weights, the resize mode and the
    seed. A damaged file is replaced.
    """
    import numpy as np

    facts = f"{clips.sha256}:{clips.size.frames}:{extractor.name}:{extractor.sha256}:{extractor.resize}:{seed}"
    path = cache_folder() / f"clips-{hashlib.sha256(facts.encode()).hexdigest()[:32]}.npz"
    if path in _unsaved_moments:
        progress(clips.count)
        return _unsaved_moments[path]
    found = _read_moments(path, extractor.width)
    if found is not None:
        progress(clips.count)
        return found
    found = clip_moments(frame_features(extractor, clips.batches(), device=device, progress=progress), seed)
    arrays = {f"{kind}.{name}": getattr(each, name) for kind, each in found.items() for name in Moments.__slots__}
    _unsaved_moments.clear()
    try:
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **arrays)
    except OSError:  # without a writable cache, this process remembers the last ones
        _unsaved_moments[path] = found
    return found


def _read_moments(path: Path, width: int) -> dict[str, Moments] | None:
    """Return the moments in a file; None if there is no such file, or it is damaged."""
    import zipfile

    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as file:
            read = {kind: [file[f"{kind}.{name}"] for name in Moments.__slots__] for kind in KINDS}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
        return None
    found = {kind: Moments(int(count), mean, scatter) for kind, (count, mean, scatter) in read.items()}
    if any(not (np.isfinite(each.mean).all() and np.isfinite(each.scatter).all()) for each in found.values()):
        return None
    return found if len(found["fd_frames"].mean) == width else None


#: Moments of the last reference that could not be written to the cache, by its file.
_unsaved_moments: dict[Path, dict[str, Moments]] = {}
