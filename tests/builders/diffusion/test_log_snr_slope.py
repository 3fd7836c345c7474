"""The slope of the log-SNR against closed forms, and the sigmoid weighting against its sources."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from builders.diffusion.schedules import log_snr_slope, noise_schedule, sigmoid_weight, soft_min_snr_weight


def cosine(i, steps):
    """Log-SNR of arXiv 2102.09672, equation 17, at an index, which need not be whole."""
    g = np.cos((i / steps + 0.008) / 1.008 * np.pi / 2) ** 2 / np.cos(0.008 / 1.008 * np.pi / 2) ** 2
    return np.log(g / (1 - g))


def linear(i, steps):
    """Log-SNR of arXiv 2006.11239: the sum of log(1 - beta), to second order, with betas from 1e-4 to 0.02."""
    first, rise = 0.1 / steps, 19.9 / steps / (steps - 1)
    sum_of_squares = first**2 * i + first * rise * i * (i - 1) + rise**2 * i * (i - 1) * (2 * i - 1) / 6
    g = np.exp(-first * i - rise * i * (i - 1) / 2 - sum_of_squares / 2)
    return np.log(g / (1 - g))


def cosine_logsnr(i, steps):
    """Log-SNR of arXiv 2301.11093, equation 3, from 5 at index 1 to -5."""
    first, last = np.arctan(np.exp(-2.5)), np.arctan(np.exp(2.5))
    return -2 * np.log(np.tan(first + (i - 1) / (steps - 1) * (last - first)))


@pytest.mark.parametrize(("name", "log_snr", "rtol"), [
    ("cosine", cosine, 1e-3), ("linear", linear, 2e-3), ("cosine_logsnr", cosine_logsnr, 1e-3),
])  # fmt: skip
@pytest.mark.parametrize("steps", [1000, 2000])
@pytest.mark.parametrize("shift", [(1, 1), (4, 1), (4, 2)])
def test_the_slope_is_the_derivative_of_the_log_snr(name, log_snr, rtol, steps, shift):
    """A shift moves the log-SNR by a constant, and the number of steps does not change the time."""
    index = np.arange(steps // 50, steps - steps // 50)
    h = 0.01
    numerical = -(log_snr(index + h, steps) - log_snr(index - h, steps)) / (2 * h / steps)
    slope = log_snr_slope(noise_schedule(name, *shift, steps)).numpy()
    np.testing.assert_allclose(slope[index], numerical, rtol=rtol)
    assert (slope > 0).all() and np.isinf(slope[0]) and np.isfinite(slope[1:]).all()


@pytest.mark.parametrize("name", ["cosine", "linear", "cosine_logsnr"])
@pytest.mark.parametrize("shift", [(1, 1), (4, 2)])
def test_the_integral_of_the_slope_is_the_range_of_the_log_snr(name, shift):
    schedule = noise_schedule(name, *shift).double()
    log_snr = torch.logit(schedule[20:981])
    integral = torch.trapezoid(log_snr_slope(schedule)[20:981].double(), dx=1e-3)
    assert integral.item() == pytest.approx((log_snr[0] - log_snr[-1]).item(), rel=1e-3)


def by_log_snr(weights, schedule, at):
    """The weight by log-SNR, relative to that at 0, of weights by uniform times; from differences alone."""
    log_snr = torch.logit(schedule.double())[1:].numpy()
    density = -1 / np.gradient(log_snr, 1 / (len(schedule) - 1))
    found = weights.numpy()[1:] * density
    value = [float(np.interp(-each, -log_snr, found)) for each in (at, 0)]
    return value[0] / value[1]


@pytest.mark.parametrize("bias", [2.0, -1.0])
@pytest.mark.parametrize(("name", "ratio", "at"), [
    ("cosine", 1, (-4, 2, 6)), ("cosine", 4, (-4, 2)), ("linear", 1, (-4, 6)), ("cosine_logsnr", 1, (-4, 4)),
])  # fmt: skip
def test_sigmoid_weights_depend_on_the_log_snr_alone(name, ratio, at, bias):
    """sigmoid(bias - log SNR) in any schedule: 1.13 at -4 and 0.0205 at 6, relative to 0, for a bias of 2."""
    schedule = noise_schedule(name, ratio)
    for each in at:
        expected = (1 + math.exp(-bias)) / (1 + math.exp(each - bias))
        assert by_log_snr(sigmoid_weight(schedule, bias), schedule, each) == pytest.approx(expected, rel=0.01)
    if bias == 2 and 6 in at:
        assert by_log_snr(sigmoid_weight(schedule), schedule, -4) == pytest.approx(1.13, abs=0.01)
        assert by_log_snr(sigmoid_weight(schedule), schedule, 6) == pytest.approx(0.0205, abs=3e-4)


def test_soft_min_snr_is_what_sigmoid_was_before():
    """Without the slope, the weight by log-SNR is that of the schedule's times, too."""
    schedule = noise_schedule("cosine")
    weights = soft_min_snr_weight(schedule)
    assert torch.equal(weights, torch.sigmoid(2 - torch.logit(schedule)))
    assert by_log_snr(weights, schedule, -4) == pytest.approx(0.30, abs=0.005)
    assert by_log_snr(weights, schedule, 6) == pytest.approx(0.0020, abs=5e-5)


@pytest.mark.parametrize("bias", [2.0, 0.0, -3.0])
def test_sigmoid_weights_of_the_error_in_x(bias):
    """Times the SNR they are those of arXiv 2410.19324: -d(log SNR)/dt e^bias sigmoid(log SNR - bias)."""
    schedule = noise_schedule("cosine", 2)
    inner = slice(20, 980)
    log_snr = torch.logit(schedule.double())[inner]
    expected = log_snr_slope(schedule)[inner] * math.exp(bias) * torch.sigmoid(log_snr - bias)
    found = sigmoid_weight(schedule, bias)[inner] * log_snr.exp()
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=0)


@pytest.mark.parametrize("steps", [1, 2, 3, 20])
@pytest.mark.parametrize("shift", [(1, 1), (64, 2)])
def test_few_steps_have_finite_weights(steps, shift):
    weights = sigmoid_weight(noise_schedule("cosine", *shift, steps))
    assert weights.shape == (steps + 1,) and weights[0] == 0
    assert weights.isfinite().all() and (weights[1:] > 0).all()


def test_the_clean_end_counts_nothing():
    schedule = torch.tensor([1.0, 1.0, 0.5, 0.0001])
    assert sigmoid_weight(schedule)[:2].tolist() == [0, 0]


def test_the_first_noisy_index_ignores_the_clean_one():
    """The schedule jumps from infinite log-SNR to 5 there."""
    slope = log_snr_slope(noise_schedule("cosine_logsnr"))
    numerical = 1000 * (cosine_logsnr(1, 1000) - cosine_logsnr(1.01, 1000)) / 0.01
    assert slope[1].item() == pytest.approx(numerical, rel=0.01)


def test_the_slope_of_two_steps():
    """2 da/dt / (sin a cos a), from the difference of the two angles alone."""
    first, last = math.acos(math.sqrt(0.8)), math.acos(math.sqrt(0.1))
    speed = 2 * (last - first)
    slope = log_snr_slope(torch.tensor([1.0, 0.8, 0.1]))
    assert slope[1:].tolist() == pytest.approx([2 * speed / 0.4, 2 * speed / 0.3], rel=1e-5)
