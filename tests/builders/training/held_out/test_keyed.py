"""Noise and times of held-out samples depend on their keys alone."""

from __future__ import annotations

import torch

from builders.training.held_out.keyed import keyed_noise, keyed_points, keyed_times
from specs.schemas.held_out import LOG_SNRS

KEYS = [f"sample-{number}" for number in range(400)]


def test_noise_is_normal_and_differs_by_key_level_and_draw():
    noise = keyed_noise(KEYS, "r8", 3, (8, 8), "time", 0)
    assert noise.shape == (400, 3, 8, 8)
    assert abs(float(noise.mean())) < 0.02 and abs(float(noise.std()) - 1) < 0.02
    again = keyed_noise(KEYS[7:9], "r8", 3, (8, 8), "time", 0)
    assert torch.equal(again, noise[7:9])
    for label, draw in (("r8f1", ("time", 0)), ("r8", ("time", 1)), ("r8", ("log-SNR", 0))):
        other = keyed_noise(KEYS[:50], label, 3, (8, 8), *draw)
        assert abs(float((other * noise[:50]).mean())) < 0.05


def test_times_cover_the_interval_and_draws_are_evenly_spaced():
    draws = torch.stack([keyed_times(KEYS, draw, 4) for draw in range(4)])
    assert draws.shape == (4, 400) and draws.min() >= 0 and draws.max() < 1
    torch.testing.assert_close(draws.diff(dim=0), torch.full((3, 400), 0.25, dtype=torch.float64))
    assert torch.histc(draws.flatten(), 8, 0, 1).min() > 150  # of 200
    assert torch.equal(keyed_times(KEYS[3:4], 2, 4), draws[2, 3:4])
    assert not torch.equal(keyed_times(KEYS, 0, 4, seed=1), draws[0])


def test_each_sample_visits_every_log_snr_in_as_many_draws():
    visited = [keyed_points(KEYS, draw) for draw in range(len(LOG_SNRS))]
    assert all(set(points) == set(range(len(LOG_SNRS))) for points in zip(*visited, strict=True))
    counts = torch.bincount(torch.tensor(visited[0]), minlength=len(LOG_SNRS))
    assert counts.min() > 12  # of 33
