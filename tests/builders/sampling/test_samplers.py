"""Samplers on a model whose samples are known, and on a real small network."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

import zoo
from builders.diffusion.process import DiffusionProcess
from builders.networks.conditioning import Context
from builders.sampling.generation import Request, SamplerSettings, draw_all
from builders.sampling.sampler import _generators, initial_noise, sample, time_indices
from registry.weights import load_weights
from specs.load import load_entry

GRAPH = load_entry("mdm-nano", overrides=["process.residual=null"]).graph
PROCESS = DiffusionProcess(GRAPH)
SIZES = [level.resolution for level in GRAPH.levels]


def context(values):
    """A context with one number per sample."""
    return Context({label: (torch.tensor(values)[:, None],) for label in GRAPH.labels})


class Known(nn.Module):
    """Predicts the v of images of one colour, that of the context: sampling must end there, exactly."""

    def __init__(self):
        super().__init__()
        self.anchor = nn.Parameter(torch.zeros(1))
        self.graph = GRAPH
        self.calls = []

    def forward(self, z, t, context):
        self.calls.append((t, z[0].shape[0], self.training))
        colour = context.levels["r16"][0][:, :, None, None]
        return [
            (g[t + 1].sqrt() * x - colour) / (1 - g[t + 1]).sqrt() for x, g in zip(z, PROCESS.schedules, strict=True)
        ]


def draw(model=None, values=(0.5,), **options):
    options = {"seeds": range(len(values)), "num_inference_steps": 5} | options
    return sample(model or Known(), context(list(values)), PROCESS, **options)


@pytest.mark.parametrize(
    "options", [{}, {"eta": 0.5}, {"eta": 1.0}, {"method": "ddpm"}, {"method": "dpm++"}, {"num_inference_steps": 1}]
)
def test_ends_at_the_predicted_image(options):
    images = draw(values=(0.5, -0.25), **options)
    assert [tuple(x.shape) for x in images] == [(2, 3, size, size) for size in SIZES]
    for x in images:
        torch.testing.assert_close(x[0], torch.full_like(x[0], 0.5), atol=1e-5, rtol=0)
        torch.testing.assert_close(x[1], torch.full_like(x[1], -0.25), atol=1e-5, rtol=0)
        assert not x.requires_grad


def test_time_indices_and_modes():
    assert time_indices(1000, 50)[:2] == [1000, 980] and time_indices(1000, 50)[-2:] == [20, 0]
    assert time_indices(1000, 1000) == list(range(1000, -1, -1))
    model = Known().train()
    model.child = nn.Dropout().eval()
    draw(model, num_inference_steps=4)
    assert [t for t, _, _ in model.calls] == [999, 749, 499, 249]
    assert not any(training for _, _, training in model.calls)
    assert model.training and not model.child.training


@pytest.mark.parametrize(("scale", "expected"), [(1.0, 0.25), (0.0, -0.25), (2.0, 0.75)])
def test_guidance(scale, expected):
    model = Known()
    images = draw(model, (0.25, 0.25), unconditional=context([-0.25]), guidance_scale=scale)
    torch.testing.assert_close(images[0], torch.full_like(images[0], expected), atol=1e-5, rtol=0)
    # One forward of both contexts, or of the only one needed.
    assert len(model.calls) == 5 and {rows for _, rows, _ in model.calls} == {2 if scale in (0, 1) else 4}


def test_guidance_in_an_interval_of_the_time():
    """Guided steps make one pass of both contexts, the others one of the context alone."""
    model = Known()
    options = {"unconditional": context([-0.25]), "guidance_scale": 2.0, "guidance_interval": (0.35, 0.8)}
    images = draw(model, (0.25,), **options)
    assert [(t + 1, rows) for t, rows, _ in model.calls] == [(1000, 1), (800, 2), (600, 2), (400, 2), (200, 1)]
    # The last step decides what this model draws.
    torch.testing.assert_close(images[0], torch.full_like(images[0], 0.25), atol=1e-5, rtol=0)
    whole = draw(values=(0.25,), **{**options, "guidance_interval": (0.0, 1.0)})
    torch.testing.assert_close(whole[0], torch.full_like(whole[0], 0.75), atol=1e-5, rtol=0)
    # A scale of 0 leaves the context out in the interval alone.
    images = draw(values=(0.25,), **{**options, "guidance_scale": 0.0, "guidance_interval": (0.5, 1.0)})
    torch.testing.assert_close(images[0], torch.full_like(images[0], 0.25), atol=1e-5, rtol=0)


def test_an_interval_has_both_its_ends():
    """0.07 of 1,000 steps is a little more than 70 in floats; a step at its end is guided all the same."""
    model = Known()
    options = {"unconditional": context([-0.25]), "guidance_scale": 2.0, "guidance_interval": (0.03, 0.07)}
    draw(model, (0.25,), num_inference_steps=100, **options)
    guided = [t + 1 for t, rows, _ in model.calls if rows == 2]
    assert guided == [70, 60, 50, 40, 30]


def test_guidance_with_contexts_that_cannot_be_joined():
    wider = Context({label: (torch.full((1, 2), -0.25),) for label in GRAPH.labels})
    model = Known()
    images = draw(model, (0.25,), unconditional=wider.map(lambda value: value), guidance_scale=1.0)
    assert images[0].mean() == pytest.approx(0.25, abs=1e-5)

    class Wide(Known):
        def forward(self, z, t, context):
            return super().forward(z, t, context.map(lambda value: value[:, :1]))

    images = draw(Wide(), (0.25,), unconditional=wider, guidance_scale=2.0)
    assert images[0].mean() == pytest.approx(0.75, abs=1e-5)


def test_clipping():
    assert draw(values=(3.0,))[0].max() == pytest.approx(1, abs=1e-5)
    assert draw(values=(3.0,), clip=False)[0].mean() == pytest.approx(3, abs=1e-3)
    assert draw(values=(3.0,), dynamic_threshold=0.99)[0].max() == pytest.approx(1, abs=1e-5)


def test_progress_gets_previews_of_every_level():
    seen = []
    draw(progress=lambda step, total, images: seen.append((step, total, [x.shape[-1] for x in images])))
    assert seen == [(step, 5, SIZES) for step in range(1, 6)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "dpm"}, "'sampler' must be 'ddim', 'ddpm' or 'dpm\\+\\+', not the text 'dpm'"),
        ({"sampler": "dpm"}, "'sampler' must be"),
        ({"guidance_scale": 2.0}, "needs an unconditional context"),
        ({"guidance_scale": float("nan")}, "'guidance_scale' must be a finite number, not nan"),
        ({"eta": 2.0}, "'eta' must be at most 1.0, not 2.0"),
        ({"num_inference_steps": 0}, "'num_inference_steps' must be at least 1, not 0"),
        ({"num_inference_steps": 1001}, "num_inference_steps must be from 1 to 1,000, not 1,001"),
        ({"dynamic_threshold": 2.0}, "'dynamic_threshold' must be at most 1.0"),
        ({"dynamic_threshold": 0.9, "clip": False}, "'dynamic_threshold' is a way to clip, but 'clip' is off"),
        ({"eta": 0.5, "method": "dpm++"}, r"'eta' is the noise of ddim; dpm\+\+ does not take it"),
        ({"guidance_interval": (0.8, 0.2)}, "'guidance_interval' goes from 0.8 down to 0.2"),
        ({"guidance_interval": (0.0, 1.5)}, "'guidance_interval' must be at most 1.0, not 1.5"),
        ({"steps": 3}, "SamplerSettings has no field 'steps'"),
    ],
)
def test_refusals(options, message):
    with pytest.raises(ValueError, match=message):
        draw(**options)


def test_settings_are_one_object_or_named():
    settings = SamplerSettings("dpm++", 3, dynamic_threshold=0.9)
    named = {name: getattr(settings, name) for name in ("sampler", "num_inference_steps", "dynamic_threshold")}
    given = {"seeds": [0]}
    whole = sample(Known(), context([3.0]), PROCESS, settings, **given)
    torch.testing.assert_close(whole, sample(Known(), context([3.0]), PROCESS, **named, **given), atol=0, rtol=0)
    with pytest.raises(TypeError, match="takes settings or their fields by name, not both: eta"):
        sample(Known(), context([3.0]), PROCESS, settings, eta=0.5, **given)


@pytest.fixture(scope="module")
def micro():
    model = zoo.build("mdm-micro")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.05)
    return SimpleNamespace(model=model, process=DiffusionProcess(model.graph))


@pytest.mark.parametrize("options", [{}, {"method": "ddpm"}, {"eta": 1.0}])
def test_a_seed_does_not_depend_on_its_batch(micro, options):
    def run(classes, seeds):
        return sample(
            micro.model,
            micro.model.encode(classes=torch.tensor(classes)),
            micro.process,
            seeds=seeds,
            unconditional=micro.model.encode(),
            guidance_scale=2.0,
            num_inference_steps=4,
            **options,
        )

    many, one = run([1, 2, 3], [7, 8, 9]), run([2], [8])
    for batch, alone in zip(many, one, strict=True):
        torch.testing.assert_close(batch[1:2], alone, atol=1e-4, rtol=1e-4)
        assert not torch.allclose(batch[0], batch[1], atol=1e-2)
    assert all(torch.equal(a, b) for a, b in zip(many, run([1, 2, 3], [7, 8, 9]), strict=True))


@pytest.mark.parametrize("method", ["ddim", pytest.param("dpm++", marks=pytest.mark.slow)])
def test_a_seed_gives_its_image_whatever_the_batch_with_trained_weights(method):
    """To 1e-5, with guidance, at every level of the weights that are shipped."""
    model, _ = load_weights("mdm-nano")
    settings = SamplerSettings(method, 4, 2.0)
    many = draw_all(model, Request((3, 4, 5), (0, 3, 9)), settings)
    for row, seed, kind in ((0, 3, 0), (2, 5, 9)):
        alone = draw_all(model, Request((seed,), (kind,)), settings)
        for batch, one in zip(many, alone, strict=True):
            torch.testing.assert_close(batch[row : row + 1], one, atol=1e-5, rtol=0)


class Gaussian(nn.Module):
    """The exact v for pixels drawn from a normal distribution of mean 0.1 and deviation 0.4."""

    def __init__(self):
        super().__init__()
        self.anchor = nn.Parameter(torch.zeros(1))
        self.graph = GRAPH

    def forward(self, z, t, context):
        result = []
        for x, schedule in zip(z, PROCESS.schedules, strict=True):
            g = schedule[t + 1].double()
            x0 = 0.1 + g.sqrt() * 0.4**2 / (g * 0.4**2 + 1 - g) * (x.double() - g.sqrt() * 0.1)
            result.append(((g.sqrt() * x.double() - x0) / (1 - g).sqrt()).float())
        return result


def test_dpm_solver_is_of_second_order_and_nearer_to_the_exact_solution_than_ddim():
    noise = initial_noise(PROCESS, [_generators(0, len(SIZES))], "cpu")
    exact = []
    for z, schedule in zip(noise, PROCESS.schedules, strict=True):
        g = schedule[1000].double()
        exact.append(0.1 + 0.4 / (g * 0.4**2 + 1 - g).sqrt() * (z - g.sqrt() * 0.1))

    def error(method, steps):
        images = draw(Gaussian(), method=method, num_inference_steps=steps, clip=False)
        return max(float((a - b).square().mean().sqrt()) for a, b in zip(images, exact, strict=True))

    errors = {(method, steps): error(method, steps) for method in ("ddim", "dpm++") for steps in (10, 20, 40)}
    assert all(
        errors["dpm++", steps] < share * errors["ddim", steps] for steps, share in ((10, 0.9), (20, 0.6), (40, 0.3))
    )
    # Twice the steps: the first order halves the error, the second quarters it.
    assert errors["dpm++", 40] < 0.3 * errors["dpm++", 20] < errors["ddim", 40]
