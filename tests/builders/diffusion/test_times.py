"""Distributions of training times against their closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from builders.diffusion.log_snr import log_snr
from builders.diffusion.schedules import noise_schedule
from builders.diffusion.times import cumulative_shares, evenly_spread, time_indices_of
from specs.schemas.times import TimesSpec

STEPS = 1000
SCHEDULE = noise_schedule("cosine", 2.0)


def normal_cdf(value: float) -> float:
    return 0.5 * (1 + math.erf(value / math.sqrt(2)))


def drawn(spec: TimesSpec, schedule: torch.Tensor = SCHEDULE, count: int = 20_000) -> torch.Tensor:
    """The times of numbers that are spread evenly over [0, 1)."""
    u = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    return time_indices_of(u, spec, schedule, range(count), 0.0)


def test_uniform_times_are_the_floor():
    u = torch.tensor([0.0, 0.0009999, 0.001, 0.5, 1 - 2**-53], dtype=torch.float64)
    assert time_indices_of(u, TimesSpec(), SCHEDULE, range(5), 0.3).tolist() == [0, 0, 1, 500, 999]


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (-0.7, 0.5), (1.5, 2.0)])
def test_the_logit_of_the_time_is_normal(mean, std):
    spec = TimesSpec(distribution="logit_normal", mean=mean, std=std)
    shares = cumulative_shares(spec, SCHEDULE)
    assert shares.shape == (STEPS,) and shares.dtype == torch.float64 and shares[-1] == 1
    for index in (0, 99, 499, 899):
        t = (index + 1) / STEPS
        assert float(shares[index]) == pytest.approx(normal_cdf((math.log(t / (1 - t)) - mean) / std), abs=1e-9)
    logits = torch.logit((drawn(spec).double() + 0.5) / STEPS)
    assert float(logits.mean()) == pytest.approx(mean, abs=0.03) and float(logits.std()) == pytest.approx(std, rel=0.03)


@pytest.mark.parametrize(("mean", "std"), [(2.4, 2.4), (-1.0, 0.8)])
def test_the_log_snr_is_normal(mean, std):
    spec = TimesSpec(distribution="logsnr", mean=mean, std=std)
    shares = cumulative_shares(spec, SCHEDULE)
    assert shares.shape == (STEPS,) and shares[-1] == pytest.approx(1, abs=1e-12)
    ratios = log_snr(SCHEDULE)[1:].numpy()
    low, high = (normal_cdf((ratios[end] - mean) / std) for end in (-1, 0))
    for index in (0, 50, 300, 800):
        border = (ratios[index] + ratios[index + 1]) / 2
        wanted = (high - normal_cdf((border - mean) / std)) / (high - low)
        assert float(shares[index]) == pytest.approx(wanted, abs=1e-9)
    end = cumulative_shares(TimesSpec(distribution="logsnr", mean=-20, std=0.2), SCHEDULE)
    assert end[-1] == pytest.approx(1, abs=1e-12) and end[-2] < 0.999
    found = ratios[drawn(spec).numpy()]
    assert np.mean(found) == pytest.approx(mean, abs=0.03) and np.std(found) == pytest.approx(std, rel=0.03)


def test_ratios_outside_a_schedule_become_its_nearest_end():
    narrow = noise_schedule("cosine_logsnr")
    for mean, index in ((20.0, 0), (-20.0, STEPS - 1)):
        spec = TimesSpec(distribution="logsnr", mean=mean, std=0.05)
        assert set(drawn(spec, narrow, 50).tolist()) == {index}
        shares = cumulative_shares(spec, narrow)
        assert shares.tolist() == [0] * index + [1] * (STEPS - index) and shares.dtype == torch.float64


def test_a_number_at_the_border_of_two_times_belongs_to_the_later_one():
    spec = TimesSpec(distribution="logit_normal", mean=0.0, std=1.0)
    borders = cumulative_shares(spec, SCHEDULE)[[9, 499, 700]]
    assert time_indices_of(borders, spec, SCHEDULE, range(3), 0.0).tolist() == [10, 500, 701]


def test_a_schedule_of_one_step_has_one_time():
    for name in ("uniform", "stratified", "logit_normal", "logsnr"):
        assert set(drawn(TimesSpec(distribution=name), noise_schedule("cosine", steps=1), 20).tolist()) == {0}


def test_first_rows_of_a_batch_are_spread_evenly():
    """Any power of two of rows has one number in each part of that size, whatever the start."""
    for start in (0.0, 0.3, 0.99):
        numbers = evenly_spread(range(64), start)
        assert numbers.dtype == torch.float64 and numbers.min() >= 0 and numbers.max() < 1
        for rows in (1, 2, 4, 8, 16, 32, 64):
            moved = (numbers[:rows] - start) % 1
            assert sorted((moved * rows + 1e-9).long().tolist()) == list(range(rows))
    assert evenly_spread([0, 1, 2, 3, 6], 0.0).tolist() == [0, 0.5, 0.25, 0.75, 0.375]
    assert evenly_spread([0, 1], 0.625).tolist() == [0.625, 0.125]
    # A process has every second row of the same numbers.
    assert torch.equal(evenly_spread(range(1, 20, 2), 0.7), evenly_spread(range(20), 0.7)[1::2])


def test_stratified_times_do_not_depend_on_the_numbers_of_the_rows():
    spec = TimesSpec(distribution="stratified")
    one, other = (time_indices_of(torch.rand(16).double(), spec, SCHEDULE, range(16), 0.25) for _ in range(2))
    assert torch.equal(one, other) and (one.sort().values.diff() - STEPS / 16).abs().max() <= 1
