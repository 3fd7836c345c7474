"""How far the variance of samples falls short of that of Gaussian data, where the exact prediction is known."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from benchmarks.few_step_variance import deviation
from builders.diffusion.process import noise_schedule

SCHEDULE = noise_schedule("cosine").double()


def expected(steps: int, c: float) -> float:
    """The deviation after the posteriors of arXiv 2006.11239, equation 7, relative to that of N(0, c)."""
    g = SCHEDULE.numpy()[[round(1000 * (steps - number) / steps) for number in range(steps + 1)]]
    variance = 1.0
    for t, s in pairwise(g):
        clean = np.sqrt(t) * c / (t * c + 1 - t)
        factor = (np.sqrt(s) * (1 - t / s) * clean + np.sqrt(t / s) * (1 - s)) / (1 - t)
        variance = factor**2 * variance + (1 - s) * (1 - t / s) / (1 - t)
    return float(np.sqrt(variance / c))


@pytest.mark.parametrize(("steps", "c"), [(10, 0.25), (50, 0.25), (250, 0.25), (50, 0.01)])
def test_few_steps_of_ddpm_have_too_little_variance(steps, c):
    assert deviation("ddpm", steps, c, SCHEDULE) == pytest.approx(expected(steps, c), rel=1e-6)


def test_the_figures_of_the_sampling_page():
    found = {steps: round(deviation("ddpm", steps, 0.25, SCHEDULE), 3) for steps in (10, 50, 250)}
    assert found == {10: 0.777, 50: 0.935, 250: 0.985}
    assert round(deviation("ddim", 50, 0.25, SCHEDULE), 3) == 0.969


def test_ddim_of_data_as_wide_as_the_noise():
    """The exact prediction of v is 0, and each step shortens z by the cosine of its angle."""
    angle = torch.acos(SCHEDULE[[1000, 750, 500, 250, 0]].sqrt())
    assert deviation("ddim", 4, 1.0, SCHEDULE) == pytest.approx(angle.diff().cos().prod().item(), rel=1e-6)
