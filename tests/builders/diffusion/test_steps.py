"""Reverse steps against the papers' formulas in float64, and what must hold whatever the network says."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from builders.diffusion.schedules import noise_schedule
from builders.diffusion.steps import ddim_step, ddpm_step, dpm_solver_step, limit_x0

SCHEDULE = noise_schedule("linear", 2, steps=100).double()
PAIRS = ((100, 80), (60, 59), (30, 1), (1, 0), (55, 0))
SHAPE = (2, 3, 4, 4)


def values(count: int, seed: int = 0, scale: float = 1.5) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [scale * torch.randn(SHAPE, generator=generator, dtype=torch.float64) for _ in range(count)]


def limited(x0: np.ndarray, clip: bool, quantile: float | None) -> np.ndarray:
    """Static thresholding, or dynamic thresholding of arXiv 2205.11487, appendix C.1."""
    if not clip:
        return x0
    if quantile is None:
        return np.minimum(np.maximum(x0, -1), 1)
    rows = []
    for row in x0:
        s = max(np.quantile(np.abs(row), quantile), 1)
        rows.append(np.minimum(np.maximum(row, -s), s) / s)
    return np.stack(rows)


LIMITS = [(True, None), (False, None), (True, 0.9)]


@pytest.mark.parametrize("quantile", [0.5, 0.9, 0.995, 1.0])
def test_dynamic_threshold_is_a_quantile_of_each_image(quantile):
    x0 = torch.cat([each[:1] for each in (*values(2, scale=3), *values(1, scale=0.2))])
    found = limit_x0(x0, dynamic_threshold=quantile)
    np.testing.assert_allclose(found.numpy(), limited(x0.numpy(), True, quantile), rtol=1e-6)
    # What is inside already is left alone, and nothing is outside afterwards.
    assert torch.equal(found[2], x0[2]) and found.abs().max() <= 1 + 1e-6


def test_plain_clipping_is_the_default():
    (x0,) = values(1)
    assert x0.abs().max() > 1.5
    np.testing.assert_array_equal(limit_x0(x0).numpy(), limited(x0.numpy(), True, None))
    assert limit_x0(x0, False) is x0 and limit_x0(x0, clip=False, dynamic_threshold=0.5) is x0


def test_dynamic_threshold_of_half_precision():
    x0 = values(1)[0].to(torch.bfloat16)
    assert limit_x0(x0, dynamic_threshold=0.9).abs().max() <= 1


def posterior(x0: np.ndarray, z: np.ndarray, g_t: float, g_s: float) -> tuple[np.ndarray, float]:
    """Mean and variance of q(z_s | z_t, x0) by Bayes' rule: z_s has the prior N(sqrt(g_s) x0, 1 - g_s), and
    z_t = sqrt(a) z_s + N(0, 1 - a) with a = g_t / g_s; arXiv 2006.11239, equation 7, is this."""
    if g_s == 1:
        return x0, 0.0
    a = g_t / g_s
    precision = 1 / (1 - g_s) + a / (1 - a)
    mean = (np.sqrt(g_s) * x0 / (1 - g_s) + np.sqrt(a) * z / (1 - a)) / precision
    return mean, 1 / precision


@pytest.mark.parametrize(("clip", "quantile"), LIMITS)
@pytest.mark.parametrize(("t", "s"), PAIRS)
def test_ddpm_is_bayes_rule(t, s, clip, quantile):
    z, v, noise = values(3)
    g_t, g_s = float(SCHEDULE[t]), float(SCHEDULE[s])
    options = {} if clip and quantile is None else {"clip": clip, "dynamic_threshold": quantile}
    x0 = limited(np.sqrt(g_t) * z.numpy() - np.sqrt(1 - g_t) * v.numpy(), clip, quantile)
    mean, variance = posterior(x0, z.numpy(), g_t, g_s)
    for given, expected in ((None, mean), (noise, mean + np.sqrt(variance) * noise.numpy())):
        found, clean = ddpm_step(z, v, SCHEDULE[t], SCHEDULE[s], noise=given, **options)
        np.testing.assert_allclose(clean.numpy(), x0, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("clip", "quantile"), LIMITS)
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize(("t", "s"), PAIRS)
def test_ddim_is_its_papers_formula(t, s, eta, clip, quantile):
    """arXiv 2010.02502, equations 12 and 16."""
    z, v, noise = values(3)
    g_t, g_s = float(SCHEDULE[t]), float(SCHEDULE[s])
    options = {} if clip and quantile is None else {"clip": clip, "dynamic_threshold": quantile}
    x0 = limited(np.sqrt(g_t) * z.numpy() - np.sqrt(1 - g_t) * v.numpy(), clip, quantile)
    eps = (z.numpy() - np.sqrt(g_t) * x0) / np.sqrt(1 - g_t)
    sigma = eta * np.sqrt((1 - g_s) / (1 - g_t)) * np.sqrt(1 - g_t / g_s)
    expected = np.sqrt(g_s) * x0 + np.sqrt(1 - g_s - sigma**2) * eps + sigma * noise.numpy()
    found, clean = ddim_step(z, v, SCHEDULE[t], SCHEDULE[s], eta=eta, noise=noise, **options)
    np.testing.assert_allclose(clean.numpy(), x0, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6, atol=1e-7)
    if eta == 0:
        assert torch.equal(ddim_step(z, v, SCHEDULE[t], SCHEDULE[s], **options)[0], found)


def test_what_noise_ddim_needs():
    z, v = values(2)
    with pytest.raises(ValueError, match="needs noise"):
        ddim_step(z, v, SCHEDULE[9], SCHEDULE[8], eta=1.0)


@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
def test_known_images_keep_their_marginals(eta):
    """For data at one point, z_s has the variance 1 - g_s whatever eta is (arXiv 2010.02502, lemma 1)."""
    z, noise = torch.tensor([[[[1.0, 0.0]]]], dtype=torch.float64), torch.tensor([[[[0.0, 1.0]]]], dtype=torch.float64)
    for t, s in PAIRS:
        g_t, g_s = SCHEDULE[t], SCHEDULE[s]
        # The v of images that are zero; then z is the noise, scaled.
        v = g_t.sqrt() / (1 - g_t).sqrt() * z
        found, clean = ddim_step(z, v, g_t, g_s, eta=eta, noise=noise)
        assert clean.abs().max() < 1e-12
        of_z, of_noise = found.flatten().tolist()
        variance = of_z**2 * float(1 - g_t) + of_noise**2
        assert variance == pytest.approx(float(1 - g_s), rel=1e-9, abs=1e-12)
        assert (of_noise > 0) == (eta > 0 and s > 0)


def solver_step(z, x0, g_t, g_s, before):
    """Algorithm 2 of arXiv 2211.01095 as printed, with sigma, alpha and lambda."""
    alpha_s, sigma_t, sigma_s = np.sqrt(g_s), np.sqrt(1 - g_t), np.sqrt(1 - g_s)

    def lam(g):
        return np.log(np.sqrt(g) / np.sqrt(1 - g))

    h = lam(g_s) - lam(g_t)
    if before is None:
        data = x0
    else:
        r = (lam(g_t) - lam(before[1])) / h
        data = (1 + 1 / (2 * r)) * x0 - 1 / (2 * r) * before[0]
    return sigma_s / sigma_t * z - alpha_s * (np.exp(-h) - 1) * data


@pytest.mark.parametrize(("clip", "quantile"), LIMITS)
@pytest.mark.parametrize("second", [False, True])
@pytest.mark.parametrize(("b", "t", "s"), [(100, 80, 60), (90, 60, 59), (40, 3, 1)])
def test_dpm_solver_is_its_papers_algorithm(b, t, s, second, clip, quantile):
    z, v, before = values(3)
    g_b, g_t, g_s = (float(SCHEDULE[index]) for index in (b, t, s))
    options = {} if clip and quantile is None else {"clip": clip, "dynamic_threshold": quantile}
    x0 = limited(np.sqrt(g_t) * z.numpy() - np.sqrt(1 - g_t) * v.numpy(), clip, quantile)
    expected = solver_step(z.numpy(), x0, g_t, g_s, (before.numpy(), g_b) if second else None)
    found, clean = dpm_solver_step(z, v, SCHEDULE[t], SCHEDULE[s], (before, SCHEDULE[b]) if second else None, **options)
    np.testing.assert_allclose(clean.numpy(), x0, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6, atol=1e-9)


def test_the_first_solver_step_is_ddim_and_the_last_the_clean_image():
    z, v, before = values(3)
    for t, s in pairwise((100, 70, 40, 10, 0)):
        found, clean = dpm_solver_step(z, v, SCHEDULE[t], SCHEDULE[s])
        expected, _ = ddim_step(z, v, SCHEDULE[t], SCHEDULE[s])
        np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-6, atol=1e-9)
    found, clean = dpm_solver_step(z, v, SCHEDULE[10], SCHEDULE[0], (before, SCHEDULE[40]))
    assert torch.equal(found, clean)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("earlier", [torch.float32, torch.float64])
def test_the_solver_keeps_the_precision_of_its_images(dtype, earlier):
    z, v, before = values(3)
    memory = (before.to(earlier), SCHEDULE[90])
    found, _ = dpm_solver_step(z.to(dtype), v.to(dtype), SCHEDULE[60], SCHEDULE[30], memory)
    assert found.dtype == dtype


def test_the_solver_is_exact_where_the_schedule_is_extreme():
    """Lambda is computed in float64: near the clean end float32 has few digits of 1 - g left."""
    z, v = (value.float() for value in values(2))
    g_t, g_s = torch.tensor(1 - 3e-7, dtype=torch.float64), torch.tensor(1 - 1e-7, dtype=torch.float64)
    found, clean = dpm_solver_step(z, v, g_t, g_s, clip=False)
    expected = solver_step(z.double().numpy(), clean.double().numpy(), 1 - 3e-7, 1 - 1e-7, None)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6, atol=1e-6)
