"""The sampling loop against one written out in float64, on data whose exact predictions are known."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from builders.diffusion.predictions import prediction_target, x0_from
from builders.diffusion.process import DiffusionProcess
from builders.networks.conditioning import Context
from builders.sampling.sampler import initial_noise, sample
from specs.graph import Process
from specs.schemas.sampling import SamplerSettings
from tests.helpers.graphs import plain_entry

STEPS = 20
GRAPH = plain_entry(8, 4, process=Process(steps=STEPS))
PROCESS = DiffusionProcess(GRAPH)
SIDES = (8, 4)
DEVIATION = 0.4


def context(*means: float, tokens: int = 1) -> Context:
    """A context with the mean of each sample's pixels, once for every level and token."""
    values = torch.tensor(means)[:, None].expand(-1, tokens)
    return Context(dict.fromkeys(GRAPH.labels, (values,)))


class Gaussian(nn.Module):
    """Predicts the exact v for pixels from N(mean, 0.4^2), the mean being the context's; records its calls."""

    def __init__(self, dtype: torch.dtype = torch.float32, device: str = "cpu") -> None:
        super().__init__()
        self.anchor = nn.Parameter(torch.zeros(1, dtype=dtype, device=device))
        self.graph = GRAPH
        self.calls: list[tuple[int, int, torch.dtype]] = []

    def forward(self, z, t, context):
        self.calls.append((t, len(z[0]), z[0].dtype))
        assert not torch.is_grad_enabled()
        result = []
        for x, schedule, (values,) in zip(z, PROCESS.schedules, context.levels.values(), strict=True):
            assert len(values) in (1, len(x))
            g, mean = schedule[t + 1].to(x.device), values[:, 0, None, None, None].to(x.device)
            result.append(exact_v(x, g.to(x.dtype), mean, torch).to(x.dtype))
        return result


def exact_v(z, g, mean, library):
    """v = (sqrt(g) z - E[x | z]) / sqrt(1 - g) with the posterior mean of a normal distribution."""
    root = library.sqrt(g)
    x0 = mean + root * DEVIATION**2 / (g * DEVIATION**2 + 1 - g) * (z - root * mean)
    return (root * z - x0) / library.sqrt(1 - g)


def sources(seed: int) -> list[torch.Generator]:
    """Generators of a sample, outermost level first: what a seed has meant since 0.1, whatever is around a level."""
    return [torch.Generator().manual_seed((seed * 0x9E3779B1 + depth) % 2**63) for depth in (1, 0)]


def reference(seed, mean, *, sampler="ddim", steps=5, scale=1.0, other=0.0, interval=(0.0, 1.0), eta=0.0, clip=False):
    """One sample of every level in float64, and the clean images predicted at every step."""
    times = [round(STEPS * (steps - number) / steps) for number in range(steps + 1)]
    results, history = [], []
    for side, schedule, generator in zip(SIDES, PROCESS.schedules, sources(seed), strict=True):
        z = torch.randn(3, side, side, generator=generator).double().numpy()
        before, seen = None, []
        for t, s in pairwise(times):
            g_t, g_s = float(schedule[t]), float(schedule[s])
            v = exact_v(z, g_t, mean, np)
            if interval[0] <= t / STEPS <= interval[1]:
                without = exact_v(z, g_t, other, np)
                v = without + scale * (v - without)
            x0 = np.sqrt(g_t) * z - np.sqrt(1 - g_t) * v
            x0 = np.clip(x0, -1, 1) if clip else x0
            eps = (z - np.sqrt(g_t) * x0) / np.sqrt(1 - g_t)
            sigma = {"ddim": eta, "ddpm": 1.0, "dpm++": 0.0}[sampler]
            sigma *= np.sqrt((1 - g_s) / (1 - g_t) * (1 - g_t / g_s))
            if sampler == "dpm++" and s > 0:
                lam_t, lam_s = (np.log(g / (1 - g)) / 2 for g in (g_t, g_s))
                h, data = lam_s - lam_t, x0
                if before is not None:
                    r = (lam_t - before[1]) / h
                    data = (1 + 1 / (2 * r)) * x0 - 1 / (2 * r) * before[0]
                z = np.sqrt((1 - g_s) / (1 - g_t)) * z - np.sqrt(g_s) * np.expm1(-h) * data
                before = (x0, lam_t)
            else:
                noise = 0.0
                if sigma > 0:
                    noise = torch.randn(3, side, side, generator=generator).double().numpy()
                z = np.sqrt(g_s) * x0 + np.sqrt(max(1 - g_s - sigma**2, 0)) * eps + sigma * noise
            seen.append(x0)
        results.append(z)
        history.append(seen)
    return results, history


def check(images, expected, row=0):
    for found, wanted in zip(images, expected, strict=True):
        np.testing.assert_allclose(found[row].double().numpy(), wanted, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("steps", [1, 5, STEPS])
@pytest.mark.parametrize(
    ("sampler", "eta"), [("ddim", 0.0), ("ddim", 0.6), ("ddim", 1.0), ("ddpm", 0.0), ("dpm++", 0.0)]
)
def test_samples_are_those_of_the_written_out_loop(sampler, eta, steps, clip):
    seen = []
    settings = SamplerSettings(sampler, steps, eta=eta, clip=clip)
    images = sample(
        Gaussian(), context(0.3, 0.9), PROCESS, settings, seeds=[5, 8], progress=lambda *step: seen.append(step)
    )
    assert [(number, total) for number, total, _ in seen] == [(number, steps) for number in range(1, steps + 1)]
    for row, (seed, mean) in enumerate(((5, 0.3), (8, 0.9))):
        expected, history = reference(seed, mean, sampler=sampler, steps=steps, eta=eta, clip=clip)
        check(images, expected, row)
        for step, (_, _, clean) in enumerate(seen):
            check(clean, [level[step] for level in history], row)
    assert all(x.dtype == torch.float32 and not x.requires_grad for x in images)


def test_defaults():
    images = sample(Gaussian(), context(0.3), PROCESS, seeds=[1], num_inference_steps=5)
    check(images, reference(1, 0.3, clip=True)[0])
    images = sample(Gaussian(), context(0.3), PROCESS, seeds=[1], method="ddpm", num_inference_steps=5, clip=False)
    check(images, reference(1, 0.3, sampler="ddpm")[0])


def test_the_network_counts_time_from_zero():
    model = Gaussian()
    sample(model, context(0.3), PROCESS, SamplerSettings(num_inference_steps=4), seeds=[1])
    assert [t for t, _, _ in model.calls] == [19, 14, 9, 4]


def test_dynamic_thresholds_and_clipping_reach_the_step():
    """Pixels near 5 are far out: clipping makes all of them 1, a threshold at the median every second one."""
    for sampler in ("ddim", "ddpm", "dpm++"):
        settings = {"num_inference_steps": 4, "sampler": sampler}
        (clipped, _), (dynamic, _), (free, _) = (
            sample(Gaussian(), context(5.0), PROCESS, seeds=[1], **settings, **limits)
            for limits in ({}, {"dynamic_threshold": 0.5}, {"clip": False})
        )
        assert clipped.min() > 0.9999 and free.min() > 4
        assert dynamic.max() < 1.0001 and 0.45 < (dynamic < 0.9999).float().mean() < 0.55


@pytest.mark.parametrize("scale", [1.0, 0.0, 0.5, 2.0])
@pytest.mark.parametrize("interval", [(0.0, 1.0), (0.4, 0.8), (0.8, 0.8)])
@pytest.mark.parametrize("joined", [True, False])
def test_guidance(scale, interval, joined):
    """Both contexts in one pass where they can be joined, else in two; one pass where a side is enough."""
    model = Gaussian()
    settings = SamplerSettings("ddim", 5, scale, interval, clip=False)
    other = context(-0.2, tokens=1 if joined else 2)
    images = sample(model, context(0.3, 0.5, 0.1), PROCESS, settings, seeds=[5, 8, 2], unconditional=other)
    for row, (seed, mean) in enumerate(((5, 0.3), (8, 0.5), (2, 0.1))):
        check(images, reference(seed, mean, scale=scale, other=-0.2, interval=interval)[0], row)
    expected = []
    for t in (20, 16, 12, 8, 4):
        both = interval[0] <= t / STEPS <= interval[1] and scale not in (0, 1)
        expected += [(t - 1, 6)] if both and joined else [(t - 1, 3)] * (1 + both)
    assert [(t, rows) for t, rows, _ in model.calls] == expected


def test_a_context_of_one_row_is_for_all_samples():
    images = sample(Gaussian(), context(0.3), PROCESS, seeds=[5, 8, 2**63 + 3], num_inference_steps=5, clip=False)
    for row, seed in enumerate((5, 8, 2**63 + 3)):
        check(images, reference(seed, 0.3)[0], row)


@pytest.mark.parametrize(
    ("settings", "noisy"), [({}, 0), ({"eta": 0.5}, 3), ({"sampler": "ddpm"}, 3), ({"sampler": "dpm++"}, 0)]
)
def test_noise_is_drawn_where_it_is_used(settings, noisy, monkeypatch):
    """At the start, and in all but the last of 4 steps of samplers that add some; for 2 levels of 3 samples."""
    drawn = []
    draw = torch.randn
    monkeypatch.setattr(torch, "randn", lambda *shape, **options: drawn.append(shape) or draw(*shape, **options))
    sample(Gaussian(), context(0.3), PROCESS, seeds=[1, 2, 3], num_inference_steps=4, **settings)
    assert len(drawn) == 2 * 3 * (1 + noisy)


def test_guidance_needs_a_side_without_conditions():
    with pytest.raises(ValueError, match=r"guidance of 2\.0 needs an unconditional context"):
        sample(Gaussian(), context(0.3), PROCESS, seeds=[1], guidance_scale=2.0, num_inference_steps=2)
    # Whatever is given, none is needed without guidance.
    for other in (None, context(0.1)):
        images = sample(Gaussian(), context(0.3), PROCESS, seeds=[1], unconditional=other, num_inference_steps=5)
        check(images, reference(1, 0.3, clip=True)[0])


def test_a_network_in_half_precision_gets_its_own_and_samples_stay_float32():
    model = Gaussian(torch.bfloat16)
    images = sample(model, context(0.3), PROCESS, seeds=[1], num_inference_steps=5, clip=False)
    assert {dtype for _, _, dtype in model.calls} == {torch.bfloat16}
    assert all(x.dtype == torch.float32 for x in images)
    for found, wanted in zip(images, reference(1, 0.3)[0], strict=True):
        np.testing.assert_allclose(found[0].numpy(), wanted, atol=0.05)


@pytest.mark.parametrize("settings", [{}, {"eta": 1.0}, {"sampler": "ddpm"}])
def test_everything_follows_to_the_networks_device(settings):
    """Meta is an example of a device other than the CPU."""
    model = Gaussian(device="meta")
    images = sample(model, context(0.3), PROCESS, seeds=[1, 2], num_inference_steps=3, **settings)
    assert [(x.device.type, tuple(x.shape)) for x in images] == [("meta", (2, 3, side, side)) for side in SIDES]


def test_a_network_has_to_predict_every_level():
    class Short(Gaussian):
        def forward(self, z, t, context):
            return super().forward(z, t, context)[:1]

    with pytest.raises(ValueError, match="zip"):
        sample(Short(), context(0.3), PROCESS, seeds=[1], num_inference_steps=2)


def test_initial_noise_is_a_row_of_each_samples_own():
    graph = plain_entry(8, 4, 2)
    generators = [[torch.Generator().manual_seed(10 * row + level) for level in range(3)] for row in range(2)]
    noise = initial_noise(DiffusionProcess(graph), generators, "cpu")
    for level, (side, found) in enumerate(zip((8, 4, 2), noise, strict=True)):
        for row in range(2):
            expected = torch.randn(3, side, side, generator=torch.Generator().manual_seed(10 * row + level))
            assert torch.equal(found[row], expected)
    assert initial_noise(DiffusionProcess(graph), generators, "meta")[0].device.type == "meta"


def test_a_level_draws_the_same_noise_whatever_is_around_it():
    """A seed's noise belongs to the depth of a level, counted from the innermost."""
    inner = plain_entry(4, process=Process(steps=STEPS))

    class Inner(Gaussian):
        def forward(self, z, t, context):
            g = PROCESS.schedules[1][t + 1]
            return [exact_v(z[0], g, 0.3, torch)]

    alone = sample(
        Inner(),
        Context({"r4": (torch.zeros(1, 1),)}),
        DiffusionProcess(inner),
        seeds=[2**63 + 3],
        num_inference_steps=3,
    )
    inside = sample(Gaussian(), context(0.3), PROCESS, seeds=[2**63 + 3], num_inference_steps=3)
    torch.testing.assert_close(alone[0], inside[1])


@pytest.mark.parametrize("failing", [False, True])
def test_modes_are_given_back(failing):
    class Failing(Gaussian):
        def forward(self, z, t, context):
            assert not self.training and not self.child.training and not self.other.training
            if failing:
                raise RuntimeError("stop")
            return super().forward(z, t, context)

    model = Failing().train()
    model.child, model.other = nn.Dropout().eval(), nn.Dropout()
    if failing:
        with pytest.raises(RuntimeError, match="stop"):
            sample(model, context(0.3), PROCESS, seeds=[1], num_inference_steps=2)
    else:
        sample(model, context(0.3), PROCESS, seeds=[1], num_inference_steps=2)
    assert model.training and not model.child.training and model.other.training


@pytest.mark.parametrize("sampler", ["ddim", "ddpm", "dpm++"])
@pytest.mark.parametrize("kind", ["eps", "x", "flow"])
def test_networks_of_all_predictions_draw_the_same(kind, sampler):
    """A network that predicts eps, x or flow draws what one of v with the same clean images draws, with guidance."""

    class Other(Gaussian):
        def forward(self, z, t, context):
            v = super().forward(z, t, context)
            clean = [
                x0_from("v", *each, schedule[t + 1]) for *each, schedule in zip(z, v, PROCESS.schedules, strict=True)
            ]
            result = []
            for x, noisy, schedule in zip(clean, z, PROCESS.schedules, strict=True):
                g = schedule[t + 1]
                result.append(prediction_target(kind, x, (noisy - g.sqrt() * x) / (1 - g).sqrt(), g))
            return result

    graph = plain_entry(8, 4, process=Process(steps=STEPS, prediction=kind))
    settings = SamplerSettings(sampler, 6, guidance_scale=2.0, clip=False)
    options = {"seeds": [3, 4], "unconditional": context(0.0)}
    other = sample(Other(), context(0.2, -0.5), DiffusionProcess(graph), settings, **options)
    found = sample(Gaussian(), context(0.2, -0.5), PROCESS, settings, **options)
    for one, same in zip(other, found, strict=True):
        torch.testing.assert_close(one, same, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("shift", [1.0, 2.0])
@pytest.mark.parametrize("sampler", ["ddim", "ddpm", "dpm++"])
def test_levels_that_share_noise_see_one_noisy_image(sampler, shift):
    """In every step, the inner noisy image is what is seen of the outer one, with the same noise of its own added."""
    graph = plain_entry(8, 4, process=Process(steps=STEPS, shift=shift, noise="shared"))
    process = DiffusionProcess(graph)
    rests = []

    class Watched(Gaussian):
        def forward(self, z, t, context):
            g, around = process.schedules[1][t + 1], process.schedules[0][t + 1]
            rests.append((z[1] - (g / around).sqrt() * torch.nn.functional.avg_pool2d(z[0], 2)) / (1 - g).sqrt())
            return super().forward(z, t, context)

    found = sample(Watched(), context(0.2, -0.5), process, SamplerSettings(sampler, 6, clip=False), seeds=[3, 4])
    torch.testing.assert_close(found[1], torch.nn.functional.avg_pool2d(found[0], 2), rtol=1e-4, atol=1e-5)
    own = initial_noise(process, [sources(3), sources(4)], "cpu")[1]
    for rest in rests:
        torch.testing.assert_close(rest, own * (1 - 2.0 ** (shift - 2)) ** 0.5, rtol=1e-3, atol=1e-3)
