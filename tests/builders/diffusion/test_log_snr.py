"""Log signal-to-noise ratios of schedules."""

from __future__ import annotations

import math

import pytest
import torch

from builders.diffusion.log_snr import TOLERANCE, index_at, log_snr
from builders.diffusion.schedules import noise_schedule


def test_log_snr_is_that_of_alpha_bar():
    found = log_snr(torch.tensor([0.5, 0.9, 1e-8]))
    assert found.dtype == torch.float64
    assert found.tolist() == pytest.approx([0.0, math.log(9), math.log(1e-8)], rel=1e-6, abs=1e-6)
    assert log_snr(torch.ones(1)).item() == math.inf


def test_index_at_is_the_nearest_one_with_the_difference():
    schedule = torch.sigmoid(torch.tensor([math.inf, 4.0, 3.0, 1.0, -2.0]))
    for value, index, excess in ((3.0, 2, 0.0), (3.4, 2, 0.4), (3.6, 1, -0.4), (0.0, 3, -1.0), (-2.0, 4, 0.0)):
        found = index_at(schedule, value)
        assert found is not None
        assert (found[0], found[1]) == (index, pytest.approx(excess, abs=1e-5))


def test_values_outside_a_schedule_have_no_index():
    schedule = torch.sigmoid(torch.tensor([math.inf, 5.0, 0.0, -5.0]))
    assert index_at(schedule, 5.005) is not None and index_at(schedule, -5.005) is not None
    assert index_at(schedule, 5.02) is None and index_at(schedule, -5.02) is None
    first, last = log_snr(schedule)[1:][[0, -1]].tolist()
    assert index_at(schedule, first + TOLERANCE) is not None and index_at(schedule, last - TOLERANCE) is not None
    assert index_at(noise_schedule("cosine_logsnr"), 5.0) == (1, pytest.approx(0, abs=1e-5))
    assert index_at(noise_schedule("cosine_logsnr"), 6.0) is None


@pytest.mark.parametrize("ratio", [1, 4])
def test_every_ratio_of_a_long_schedule_is_near_an_index(ratio):
    for value in range(-5, 7):
        index, excess = index_at(noise_schedule("cosine", ratio), float(value))
        assert abs(excess) < 0.06 and 0 < index < 1000
