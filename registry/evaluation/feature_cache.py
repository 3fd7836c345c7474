"""Features of reference images, cached on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from builders.files import cache_folder, replacing
from registry.evaluation.features import Extractor, extract
from registry.evaluation.image_sets import ImageSet

if TYPE_CHECKING:
    import numpy as np
    import torch


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
