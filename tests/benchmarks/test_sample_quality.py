"""How white the ground of images is."""

from __future__ import annotations

import pytest
import torch

from benchmarks.sample_quality import ground_error


def test_the_ground_is_measured_in_corners_without_objects():
    images = torch.full((2, 3, 20, 20), 255, dtype=torch.uint8)
    assert ground_error(images) == 0
    images[:, :, 5:15, 5:15] = 0  # an object that no corner holds
    images[0, :, :2, :2] = 10  # an object in one of the eight corners
    assert ground_error(images) == 0
    images[1, :, -2:, -2:] = 252  # one of the seven corners that are left
    assert ground_error(images) == pytest.approx((9 / 7) ** 0.5)
