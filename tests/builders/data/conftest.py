"""Images to pack."""

from __future__ import annotations

import pytest
from PIL import Image


@pytest.fixture
def folder(tmp_path):
    """A folder of 41 small images."""
    root = tmp_path / "images"
    root.mkdir()
    for index in range(41):
        Image.new("RGB", (8, 8), (6 * index, 0, 50)).save(root / f"{index:02}.png")
    return root
