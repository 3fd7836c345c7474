"""Times even in log-SNR: which times samplers visit, and how near they come to the exact solution."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn

from builders.diffusion.process import DiffusionProcess, half_log_snr, noise_schedule
from builders.networks.conditioning import Context
from builders.sampling.sampler import _generators, initial_noise, sample
from specs.graph import Process
from specs.schemas.sampling import SAMPLERS, SamplerSettings
from tests.helpers.graphs import clip_entry, plain_entry

SIZES = ((8, 4), (4, 4), (4, 1))
IMAGES = plain_entry(8, 4)
EMPTY = Context({"r8": (torch.zeros(1, 1),)})


class Gaussian(nn.Module):
    """The exact v for pixels drawn from a normal distribution of mean 0.1 and deviation 0.4."""

    def __init__(self, process):
        super().__init__()
        self.anchor, self.process, self.times = nn.Parameter(torch.zeros(1)), process, []

    def forward(self, z, t, context):
        self.times.append(t + 1)
        result = []
        for x, schedule in zip(z, self.process.schedules, strict=True):
            g = schedule[t + 1].double()
            x0 = 0.1 + g.sqrt() * 0.4**2 / (g * 0.4**2 + 1 - g) * (x.double() - g.sqrt() * 0.1)
            result.append(((g.sqrt() * x.double() - x0) / (1 - g).sqrt()).float())
        return result


def error(process, steps, spacing, sampler="dpm++"):
    """Largest root mean squared distance of a level from the exact solution from the same noise."""
    noise = initial_noise(process, [_generators(0, len(process.schedules))], "cpu")
    settings = SamplerSettings(sampler, steps, clip=False, spacing=spacing)
    found, distances = sample(Gaussian(process), EMPTY, process, settings, seeds=[0]), []
    for image, z, schedule in zip(found, noise, process.schedules, strict=True):
        g = schedule[-1].double()
        exact = 0.1 + 0.4 / (g * 0.4**2 + 1 - g).sqrt() * (z - g.sqrt() * 0.1)
        distances.append(float((image - exact).square().mean().sqrt()))
    return max(distances)


@pytest.mark.parametrize("shift", [0.0, 1.0])
@pytest.mark.parametrize("clips", [False, True])
def test_the_solver_is_nearer_to_the_exact_solution(clips, shift):
    changes = {"process": Process(shift=shift)}
    process = DiffusionProcess(clip_entry(*SIZES, **changes) if clips else plain_entry(8, 4, **changes))
    for steps, share in ((5, 0.6), (10, 0.4), (20, 0.4)):
        assert error(process, steps, "logsnr") < share * error(process, steps, "index")


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize(("schedule", "steps"), [("cosine", 30), ("linear", 40), ("cosine_logsnr", 1000)])
def test_every_sampler_visits_the_times(sampler, schedule, steps):
    process = DiffusionProcess(plain_entry(8, 2, process=Process(schedule, steps)))
    for count in (1, 2, 7, 30):
        model = Gaussian(process)
        settings = SamplerSettings(sampler, count, spacing="logsnr")
        images = sample(model, EMPTY, process, settings, seeds=[3, 4])
        assert model.times == settings.times(process.half_log_snr)[:-1] and len(model.times) == count
        assert all(level.isfinite().all() and level.abs().max() <= 1 for level in images)


@pytest.mark.parametrize("name", ["cosine", "linear", "cosine_logsnr"])
@pytest.mark.parametrize(("ratio", "power"), [(1, 1), (4, 2), (64, 1)])
def test_half_log_snr_is_finite_and_falls(name, ratio, power):
    g = noise_schedule(name, ratio, power)
    found = half_log_snr(g)
    assert found.isfinite().all() and all(before >= after for before, after in pairwise(found.tolist()))
    inside = g.double()[1:-1]
    torch.testing.assert_close(found[1:-1], torch.log(inside / (1 - inside)) / 2)


def test_levels_differ_by_a_constant():
    """The times are those of the innermost level, and even in the log-SNR of every level."""
    outer, inner = (half_log_snr(schedule) for schedule in DiffusionProcess(IMAGES).schedules)
    gap = (inner - outer)[1:]
    torch.testing.assert_close(gap, torch.full_like(gap, 0.5 * torch.log(torch.tensor(2.0)).item()), atol=1e-3, rtol=0)
    assert DiffusionProcess(IMAGES).half_log_snr == inner.tolist()
