"""Pictures that tests look at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def read_image(path: Path) -> Image.Image:
    """Read a picture and close its file."""
    with Image.open(path) as image:
        return image.copy()


def noise(width, height, seed=0):
    """Return an RGB image of random levels."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))
