"""Pictures that tests look at."""

from __future__ import annotations

from pathlib import Path

from PIL import Image


def read_image(path: Path) -> Image.Image:
    """Read a picture and close its file."""
    with Image.open(path) as image:
        return image.copy()
