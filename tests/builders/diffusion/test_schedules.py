"""Noise schedules and loss weights against the papers' formulas in float64, to the rounding of float32."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from builders.diffusion.schedules import (
    SCHEDULES,
    min_snr_weight,
    noise_schedule,
    shift_schedule,
    signal_to_noise,
    soft_min_snr_weight,
    vdm_weight,
)

#: One rounding to float32, and a little of float64's.
ROUNDING = 1.2e-7
STEPS = (1, 2, 3, 10, 1000)


def cosine(steps: int) -> np.ndarray:
    """arXiv 2102.09672, equation 17: f(t) / f(0), and every beta at most 0.999."""
    f = np.cos((np.arange(steps + 1) / steps + 0.008) / 1.008 * np.pi / 2) ** 2
    alpha_bar = f / f[0]
    # The last f is zero but for rounding, so that the clip decides what is left.
    alpha_bar[-1] = alpha_bar[-2] * (1 - 0.999)
    return alpha_bar


def linear(steps: int) -> np.ndarray:
    """arXiv 2006.11239, section 4: betas from 1e-4 to 0.02 for 1000 steps, scaled by 1000 / steps for others."""
    betas = np.array([1e-4 + (0.02 - 1e-4) * i / max(steps - 1, 1) for i in range(steps)]) * 1000 / steps
    return np.concatenate([[1.0], np.cumprod(1 - np.minimum(betas, 0.999))])


def cosine_log_snr(steps: int) -> np.ndarray:
    """arXiv 2301.11093, equation 3: the angle, whose tangent is sigma / alpha, goes evenly between two log-SNRs."""
    ends = [math.atan(math.sqrt(math.exp(-log_snr))) for log_snr in (5, -5)]
    angles = np.linspace(*ends, steps) if steps > 1 else np.array(ends[1:])
    return np.concatenate([[1.0], np.cos(angles) ** 2])


@pytest.mark.parametrize(
    ("name", "formula", "steps"),
    [
        (name, formula, steps)
        for name, formula in (("cosine", cosine), ("cosine_logsnr", cosine_log_snr))
        for steps in STEPS
    ]
    + [("linear", linear, steps) for steps in (20, 21, 100, 1000, 4000)],
)
def test_schedules_are_the_papers_formulas(name, formula, steps):
    found = noise_schedule(name, steps=steps)
    assert found.dtype == torch.float32 and found.shape == (steps + 1,)
    np.testing.assert_allclose(found.double().numpy(), formula(steps), rtol=ROUNDING, atol=0)


def test_a_thousand_steps_and_no_shift_are_the_defaults():
    np.testing.assert_allclose(noise_schedule("linear").numpy(), linear(1000), rtol=ROUNDING)
    np.testing.assert_allclose(
        noise_schedule("linear", 3).numpy(), noise_schedule("linear", ratio=3, power=1, steps=1000).numpy(), rtol=0
    )


def test_linear_of_a_thousand_steps_is_the_papers_to_the_bit():
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    assert torch.equal(noise_schedule("linear")[1:], torch.exp(torch.log1p(-betas).cumsum(0)).float())


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("steps", [1, 2, 5, 19, 20, 30, 100, 250, 4000])
def test_schedules_end_in_noise_whatever_the_number_of_steps(name, steps):
    if name == "linear" and steps < 20:
        with pytest.raises(ValueError, match=f"needs at least 20 steps, not {steps}"):
            noise_schedule(name, steps=steps)
        return
    found = noise_schedule(name, steps=steps)
    assert 0 < found[-1] < 0.007 and (found.diff() < 0).all()


@pytest.mark.parametrize(("ratio", "power"), [(10, 12.1), (2.0**24, 16), (1e9, 1e9)])
def test_a_shift_that_leaves_no_signal_is_refused(ratio, power):
    with pytest.raises(ValueError, match="every step would be noise"):
        noise_schedule("cosine", ratio, power)
    assert noise_schedule("cosine", 10, 12)[0] == 1


def test_log_snr_goes_from_five_to_minus_five():
    g = noise_schedule("cosine_logsnr").double().numpy()
    np.testing.assert_allclose(np.log(g[[1, -1]] / (1 - g[[1, -1]])), [5, -5], rtol=1e-5)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize(("ratio", "power"), [(2, 1), (0.5, 1), (4, 2), (16, 0.5), (3, -1), (1, 7)])
def test_a_shift_divides_the_signal_to_noise_ratio(name, ratio, power):
    base = noise_schedule(name).double().numpy()
    snr = base[1:] / (1 - base[1:]) / float(ratio) ** power
    found = noise_schedule(name, ratio, power).double().numpy()
    assert found[0] == 1
    np.testing.assert_allclose(found[1:], snr / (1 + snr), rtol=3e-6)


def test_a_shift_in_float64():
    g = torch.linspace(0.001, 0.999, 50, dtype=torch.float64)
    expected = 1 / (1 + (1 / g.numpy() - 1) * 9)
    np.testing.assert_allclose(shift_schedule(g, 3, 2).numpy(), expected, rtol=1e-13)
    assert shift_schedule(g, 5, 0) is g


@pytest.mark.parametrize(
    "arguments",
    [
        {"ratio": 0}, {"ratio": -1}, {"ratio": math.inf}, {"ratio": math.nan}, {"power": math.inf},
        {"power": math.nan}, {"steps": 0},
    ],
)  # fmt: skip
def test_schedules_that_cannot_be(arguments):
    with pytest.raises(ValueError, match="a schedule needs"):
        noise_schedule("linear", **arguments)


#: From clean to noise, both ends included.
G = torch.tensor([1.0, 0.99, 5 / 6, 0.7, 0.5, 0.2, 0.01, 0.0])


def test_signal_to_noise():
    found = signal_to_noise(G.double()).numpy()
    g = G.double().numpy()
    assert found[0] == math.inf and found[-1] == 0
    np.testing.assert_allclose(found[1:], g[1:] / (1 - g[1:]), rtol=1e-14)


def test_vdm_weights_are_ratios_of_snr():
    """arXiv 2107.00630, equation 14; the first two have the weight of the third."""
    g = noise_schedule("cosine", 4).double().numpy()
    snr = g[1:] / (1 - g[1:])
    assert vdm_weight(noise_schedule("cosine", steps=1)).tolist() == [1, 1]
    two = vdm_weight(noise_schedule("cosine", steps=2))
    ratio = signal_to_noise(noise_schedule("cosine", steps=2))
    assert two.tolist() == 3 * [(ratio[1] / ratio[2] - 1).item()]
    found = vdm_weight(noise_schedule("cosine", 4))
    assert found.dtype == torch.float32 and found.shape == (1001,)
    np.testing.assert_allclose(found[2:].numpy(), snr[:-1] / snr[1:] - 1, rtol=2e-3, atol=1e-6)
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("gamma", [1.0, 5.0])
def test_min_snr_weights(gamma):
    """arXiv 2303.09556, section 3.4: min(SNR, gamma) / SNR for an eps loss."""
    g = G[1:-1].double().numpy()
    snr = g / (1 - g)
    found = min_snr_weight(G.double(), gamma)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found[1:-1].numpy(), np.minimum(snr, gamma) / snr, rtol=1e-5)
    assert found[0] == 0 and found[-1] == 1
    assert torch.equal(min_snr_weight(G), min_snr_weight(G, 5.0))


@pytest.mark.parametrize("gamma", [0.5, 4.0])
def test_soft_min_snr_weights(gamma):
    """arXiv 2401.11605: gamma / (SNR + gamma)."""
    g = G[:-1].double().numpy()
    expected = gamma * (1 - g) / (g + gamma * (1 - g))
    found = soft_min_snr_weight(G.double(), gamma)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found[:-1].numpy(), expected, rtol=1e-5, atol=1e-12)
    assert found[-1] == 1
    assert torch.equal(soft_min_snr_weight(G), soft_min_snr_weight(G, math.exp(2)))
