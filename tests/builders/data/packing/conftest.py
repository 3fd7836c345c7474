"""Images that tables list."""

from __future__ import annotations

import pytest

from tests.helpers.layouts import make_samples


@pytest.fixture
def samples():
    """24 images with captions and labels."""
    return make_samples()


@pytest.fixture
def photos(tmp_path, samples):
    """A folder ``img`` with the images, and the folder that it is in."""
    (tmp_path / "img").mkdir()
    for sample in samples:
        (tmp_path / "img" / f"{sample.name}.png").write_bytes(sample.content)
    return tmp_path
