"""The diffusion process against the paper's numbers, and what must hold for any process."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import avg_pool2d

from builders.diffusion import process
from builders.diffusion.process import (
    DiffusionProcess,
    add_noise,
    eps_from_v,
    eps_loss,
    min_snr_weight,
    noise_schedule,
    pyramid,
    shift_schedule,
    sigmoid_weight,
    signal_to_noise,
    soft_min_snr_weight,
    v_loss,
    v_target,
    vdm_weight,
    x0_from_v,
)
from builders.diffusion.steps import ddim_step, ddpm_step, limit_x0
from specs.load import load_entry
from tests.helpers.golden_formula import tensor
from tests.helpers.paths import GOLDEN

NUMBERS = json.loads((GOLDEN / "process.json").read_text())
ARRAYS = np.load(GOLDEN / "process.npz")
INDEX = NUMBERS["index"]
#: Ratio of the sides of the golden levels to the innermost.
RATIOS = (4, 1)
STEPS = ((1000, 980), (600, 560), (40, 0))


def close(actual, expected):
    np.testing.assert_allclose(np.asarray(actual, dtype=np.float64), expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("name", process.SCHEDULES)
def test_schedules_and_vdm_weights(name):
    schedule = noise_schedule(name)
    assert schedule.shape == (1001,) and schedule.dtype == torch.float32
    close(schedule[INDEX], NUMBERS[f"gamma/{name}"])
    close(vdm_weight(schedule)[INDEX], NUMBERS[f"vdm_weight/{name}"])


@pytest.mark.parametrize("ratio", [1, 4, 16])
@pytest.mark.parametrize("power", [1, 2])
def test_shifted_schedules(ratio, power):
    close(noise_schedule("cosine", ratio, power)[INDEX], NUMBERS[f"gamma/cosine/shift{ratio}/power{power}"])


@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize("shape", [(2,), (2, 1, 1, 1)])
def test_noising_targets_and_losses(level, shape):
    image = tensor("dev:q:image", (2, 3, 32, 32))
    x = (image, avg_pool2d(image, 4))[level]
    eps, prediction = tensor(f"dev:q:eps{level}", x.shape, 1.7), tensor(f"dev:step:pred{level}", x.shape)
    g = noise_schedule("cosine", RATIOS[level])[torch.tensor(NUMBERS["q/time_index"]) + 1].reshape(shape)
    close(add_noise(x, eps, g), ARRAYS[f"q/x_t/level{level}"])
    close(v_target(x, eps, g), ARRAYS[f"q/v_target/level{level}"])
    close(eps_loss(prediction, x, eps, g), NUMBERS[f"loss/eps_from_v/level{level}"])


@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize(("t", "s"), STEPS)
@pytest.mark.parametrize("method", ["ddim", "ddpm_mean"])
def test_reverse_steps(level, t, s, method):
    shape = ((2, 3, 32, 32), (2, 3, 8, 8))[level]
    z, v = tensor(f"dev:step:x{level}", shape, 1.5), tensor(f"dev:step:pred{level}", shape)
    schedule = noise_schedule("cosine", RATIOS[level])
    step = ddim_step if method == "ddim" else ddpm_step
    for g_t, g_s in (
        (schedule[t], schedule[s]),
        (schedule[[t, t]], schedule[[s, s]]),
        (float(schedule[t]), float(schedule[s])),
    ):
        z_s, x0 = step(z, v, g_t, g_s)
        close(z_s, ARRAYS[f"step/{method}/t{t}-s{s}/level{level}/x_s"])
        close(x0, ARRAYS[f"step/{method}/t{t}-s{s}/level{level}/x0"])


@settings(max_examples=30, deadline=None)
@given(g=st.floats(0.001, 0.999), seed=st.integers(0, 99), dimensions=st.sampled_from([(), (4,), (2, 4)]))
def test_v_determines_image_and_noise(g, seed, dimensions):
    """Also for videos: any number of axes behind the channels."""
    generator = torch.Generator().manual_seed(seed)
    x, eps = (torch.randn(2, 3, *dimensions, 4, generator=generator) for _ in range(2))
    rows = torch.tensor([g, 1 - g])
    z, v = add_noise(x, eps, rows), v_target(x, eps, rows)
    torch.testing.assert_close(x0_from_v(z, v, rows), x, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(eps_from_v(z, v, rows), eps, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(v_loss(v, x, eps, rows), torch.zeros(2), atol=1e-9, rtol=0)
    guess = torch.randn(v.shape, generator=generator)
    torch.testing.assert_close(eps_loss(guess, x, eps, rows), rows * v_loss(guess, x, eps, rows), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", process.SCHEDULES)
@pytest.mark.parametrize(("ratio", "power"), [(1, 1), (4, 2), (16, 0.5)])
def test_schedules_fall_from_clean(name, ratio, power):
    schedule = noise_schedule(name, ratio, power)
    assert schedule[0] == 1 and schedule[-1] >= 0
    assert (schedule.diff() < 0).all()
    shifted = signal_to_noise(noise_schedule(name))[1:-1] / signal_to_noise(schedule)[1:-1]
    torch.testing.assert_close(shifted, torch.full_like(shifted, ratio**power), rtol=2e-3, atol=0)


def test_unknown_schedule():
    with pytest.raises(ValueError, match=r"no noise schedule 'cosin'.*cosine, linear, cosine_logsnr"):
        noise_schedule("cosin")


def test_snr_weights():
    schedule = noise_schedule("cosine")
    snr = signal_to_noise(schedule)
    weight = min_snr_weight(schedule, 5.0)
    assert weight[0] == 0 and (weight[snr <= 5] == 1).all()
    torch.testing.assert_close((weight * snr)[1:], snr[1:].clamp(max=5))
    soft = soft_min_snr_weight(schedule, 4.0)
    middle = slice(1, 1000)
    torch.testing.assert_close(soft[middle], 4 / (snr[middle] + 4), rtol=1e-4, atol=1e-7)
    for finite in (soft, sigmoid_weight(schedule, 2.0), vdm_weight(schedule)):
        assert finite.isfinite().all()


def test_steps_with_noise():
    """One ancestral DDIM step is one DDPM step: same mean, same variance."""
    z, v, noise = (tensor(name, (2, 3, 4, 4)) for name in ("z", "v", "noise"))
    g = noise_schedule("cosine")
    for t, s in STEPS:
        ancestral, _ = ddim_step(z, v, g[t], g[s], eta=1.0, noise=noise)
        posterior, _ = ddpm_step(z, v, g[t], g[s], noise=noise)
        torch.testing.assert_close(ancestral, posterior, atol=1e-4, rtol=1e-4)
    with pytest.raises(ValueError, match="needs noise"):
        ddim_step(z, v, g[9], g[8], eta=0.5)


def test_limits_of_clean_images():
    x0 = torch.tensor([[[[-0.5, 0.5]]], [[[2.0, -4.0]]]])
    assert limit_x0(x0, clip=False) is x0
    assert limit_x0(x0).abs().max() == 1
    dynamic = limit_x0(x0, dynamic_threshold=1.0)
    torch.testing.assert_close(dynamic, torch.tensor([[[[-0.5, 0.5]]], [[[0.5, -1.0]]]]))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(dtype):
    x, eps = tensor("x", (2, 3, 4, 4)).to(dtype), tensor("eps", (2, 3, 4, 4)).to(dtype)
    g = torch.tensor([0.3, 0.9999])
    torch.testing.assert_close(add_noise(x, eps, g), add_noise(x.float(), eps.float(), g))
    assert v_loss(x, x, eps, g).dtype == torch.float32


def test_process_of_an_entry():
    graph = load_entry("mdm-nano", overrides=["process.shift=2"]).graph
    bound = DiffusionProcess(graph)
    for schedule, ratio in zip(bound.schedules, (4, 2, 1), strict=True):
        assert torch.equal(schedule, noise_schedule("cosine", ratio, 2))
    image = tensor("image", (4, 3, 64, 64))
    images = pyramid(image, graph)
    assert [x.shape[-1] for x in images] == [64, 32, 16]
    torch.testing.assert_close(images[2], avg_pool2d(avg_pool2d(image, 2), 2))
    # Mixed batch: an outer level has the first rows.
    images = [x[:rows] for x, rows in zip(images, (1, 2, 4), strict=True)]
    eps = [tensor(f"eps{level}", x.shape) for level, x in enumerate(images)]
    t = torch.tensor([0, 999, 500, 20])
    noisy = bound.add_noise(images, eps, t)
    for level, schedule in enumerate(bound.schedules):
        expected = add_noise(images[level], eps[level], schedule[t + 1][: len(images[level])])
        assert torch.equal(noisy[level], expected)
    with pytest.raises(ValueError, match="cannot be averaged"):
        pyramid(image[..., :60, :60], graph)


def test_shift_by_one_changes_nothing():
    schedule = noise_schedule("linear")
    assert shift_schedule(schedule, 1, 3) is schedule
