"""Features of reference images, cached on disk."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from builders.files import replacing
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
    """Features (N, width) float32 of a reference set, from the cache if they were taken before.

    The cache goes by the hashes of the images and of the network's weights and by the resize mode; a file that is
    damaged is made anew.
    """
    import numpy as np

    from builders.files import cache_folder

    key = hashlib.sha256(f"{images.sha256}:{extractor.name}:{extractor.sha256}:{extractor.resize}".encode())
    path = cache_folder() / f"features-{key.hexdigest()[:32]}.npy"
    try:
        found = np.load(path, allow_pickle=False)
        if found.shape == (len(images.images), extractor.width) and np.isfinite(found).all():
            progress(len(found))
            return found
    except (OSError, ValueError, EOFError):
        pass
    features, _ = extract(extractor, images.batches(), device=device, progress=progress)
    _write(path, features)
    return features


def _write(path: Path, features: np.ndarray) -> None:
    """Keep features; a cache that cannot be written is no reason to stop."""
    import numpy as np

    with contextlib.suppress(OSError), replacing(path) as temporary, temporary.open("wb") as file:
        np.save(file, features)
