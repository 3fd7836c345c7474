"""Levels that predict a residual over the enlarged prediction of the level inside."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from builders.diffusion.losses import sample_losses, snr_weights
from builders.diffusion.process import DiffusionProcess, add_noise, v_target, x0_from_v
from builders.diffusion.residual import add_inner_predictions, enlarge, residual_v
from builders.networks.conditioning import Context
from builders.sampling.sampler import sample
from builders.training.held_out import measure
from builders.training.held_out.measure import HeldOut
from specs.graph import Process
from specs.schemas.held_out import ValidationSpec
from specs.schemas.recipe import LossSpec
from tests.helpers.graphs import clip_entry, plain_entry
from tests.helpers.held_out import Split

TIMES = [1e-6, 0.01, 0.3, 0.9, 0.999, 1 - 1e-6]
STD = 0.2


def drawn(*shapes, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes]


def exact(count=4000):
    """Enlarged predictions, residuals of deviation STD and noise, whose moments are exact."""
    values = torch.stack(drawn(*[(count,)] * 3), 1)
    values = values - values.mean(0)
    root = torch.linalg.cholesky(values.T @ values / count)
    u, residual, eps = torch.linalg.solve_triangular(root, values.T, upper=False).reshape(3, count, 1, 1, 1)
    return u, u + STD * residual, eps


@pytest.mark.parametrize("g", TIMES)
def test_the_output_is_the_standardised_error_of_the_best_prediction(g):
    """x = u + c (z - sqrt(g) u) - r sqrt((1 - g) / d) f, for any output f."""
    u, z, f = drawn((2, 3, 4, 4), (2, 3, 4, 4), (2, 3, 4, 4))
    d = g * STD**2 + 1 - g
    wanted = u + g**0.5 * STD**2 / d * (z - g**0.5 * u) - STD * ((1 - g) / d) ** 0.5 * f
    torch.testing.assert_close(x0_from_v(z, residual_v(z, f, u, g, STD), g), wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("g", TIMES)
def test_of_a_normal_residual_an_output_of_zero_is_optimal_and_the_target_has_variance_one(g):
    """The error of the clean image is the posterior variance r^2 (1 - g) / d."""
    u, x, eps = exact()
    z = add_noise(x, eps, g)
    base = residual_v(z, torch.zeros_like(z), u, g, STD)
    d = g * STD**2 + 1 - g
    error = (x0_from_v(z, base, g) - x).square().mean().item()
    assert error == pytest.approx(STD**2 * (1 - g) / d, rel=1e-6)
    scale = (residual_v(z, torch.ones_like(z), u, g, STD) - base).mean().item()
    target = (v_target(x, eps, g) - base) / scale
    assert target.square().mean().item() == pytest.approx(1, rel=1e-6)
    assert (target * z).mean().item() == pytest.approx(0, abs=1e-6)


def test_ends_of_the_schedule():
    u, z, f = drawn((1, 3, 4, 4), (1, 3, 4, 4), (1, 3, 4, 4))
    torch.testing.assert_close(residual_v(z, f, u, 0.0, STD), -u + STD * f)  # v is minus the image
    torch.testing.assert_close(residual_v(z, f, u, 1.0, STD), f)  # v is the noise


def test_images_are_enlarged_and_frames_repeated():
    clips, image = drawn((2, 3, 2, 4, 4), (2, 3, 4, 4), dtype=torch.float32)
    found = enlarge(clips, torch.empty(2, 3, 4, 8, 8))
    for frame in range(4):
        torch.testing.assert_close(found[:, :, frame], enlarge(clips[:, :, frame // 2], torch.empty(2, 3, 8, 8)))
    assert torch.equal(enlarge(image, torch.empty(2, 3, 3, 4, 4))[:, :, 2], image)  # same side: frames alone
    assert enlarge(image[:, :, :1, :1], torch.empty(2, 3, 3, 3)).shape == (2, 3, 3, 3)  # as many pixels as channels
    ramp = torch.arange(8.0).expand(1, 3, 8, 8)  # new pixels lie a quarter beside the old ones, with any cubic kernel
    assert enlarge(ramp, torch.empty(1, 3, 16, 16))[0, 0, 8, 5:7].mean().item() == pytest.approx(2.5)
    assert enlarge(ramp, torch.empty(1, 3, 16, 16))[0, 0, 8, 3:5].mean().item() == pytest.approx(1.5)
    flat = torch.full((1, 3, 4, 4), 0.25)
    torch.testing.assert_close(enlarge(flat, torch.empty(1, 3, 16, 16)), torch.full((1, 3, 16, 16), 0.25))
    torch.testing.assert_close(functional.avg_pool2d(found.mean(2), 2).mean(), clips.mean(), atol=0.05, rtol=0)


def parts(graph, rows):
    shapes = [(count, 3, *level.size.shape) for count, level in zip(rows, graph.levels, strict=True)]
    images, eps, outputs = (drawn(*shapes, seed=seed, dtype=torch.float32) for seed in range(3))
    return [0.3 * each for each in images], eps, [each.requires_grad_() for each in outputs]


@pytest.mark.parametrize(
    "graph",
    [
        plain_entry(16, 8, 4, process=Process(residual=STD)),
        clip_entry((8, 4), (8, 2), (4, 1), process=Process(residual=STD)),
    ],
    ids=["images", "clips"],
)
def test_each_level_builds_on_the_level_inside(graph):
    process, t = DiffusionProcess(graph), torch.tensor([10, 400, 990])
    images, eps, outputs = parts(graph, (1, 2, 3))
    z = process.add_noise(images, eps, t)
    shares = [schedule[t[: len(each)] + 1] for schedule, each in zip(process.schedules, z, strict=True)]
    found = add_inner_predictions(outputs, z, graph, shares)
    assert torch.equal(found[2], outputs[2])
    for outer in (1, 0):
        rows = len(z[outer])
        clean = x0_from_v(z[outer + 1], found[outer + 1], shares[outer + 1])[:rows]
        wanted = residual_v(z[outer], outputs[outer], enlarge(clean, z[outer]), shares[outer], STD)
        torch.testing.assert_close(found[outer], wanted)
    losses = sample_losses(outputs, images, eps, t, process, LossSpec(space="v"), snr_weights(process, "none"))
    for place, label in enumerate(graph.labels):
        wanted = (found[place] - v_target(images[place], eps[place], shares[place])).square().flatten(1).mean(1)
        torch.testing.assert_close(losses[label], wanted)
    losses[graph.labels[0]].sum().backward()
    assert outputs[0].grad is not None and outputs[1].grad is None and outputs[2].grad is None


def test_levels_without_a_deviation_predict_the_whole():
    graph = plain_entry(16, 8, 4, process=Process(residual=(("r16", STD),)))
    _, z, outputs = parts(graph, (2, 2, 2))
    found = add_inner_predictions(outputs, z, graph, [0.3, 0.4, 0.5])
    assert torch.equal(found[1], outputs[1]) and torch.equal(found[2], outputs[2])
    wanted = residual_v(z[0], outputs[0], enlarge(x0_from_v(z[1], outputs[1], 0.4), z[0]), 0.3, STD)
    torch.testing.assert_close(found[0], wanted)


def test_without_it_predictions_are_the_outputs():
    graph = plain_entry(8, 4)
    outputs = drawn((1, 3, 8, 8), (1, 3, 4, 4))
    assert all(a is b for a, b in zip(add_inner_predictions(outputs, outputs, graph, [0.5, 0.5]), outputs, strict=True))


PLAIN = plain_entry(8, 4, process=Process(steps=12))
RESIDUAL = plain_entry(8, 4, process=Process(steps=12, residual=STD))


CONTEXT = Context(dict.fromkeys(PLAIN.labels, (torch.zeros(1),)))


class Outputs(nn.Module):
    """A network of fixed outputs, which are predictions that it makes of them itself if ``completes``."""

    def __init__(self, completes: bool) -> None:
        super().__init__()
        self.weight, self.graph = nn.Parameter(torch.zeros(1)), PLAIN if completes else RESIDUAL
        self.labels, self.completes = self.graph.labels, completes

    def forward(self, z, t, context=None):
        outputs = [torch.sin(3 * each + place) for place, each in enumerate(z)]
        shares = DiffusionProcess(PLAIN).alpha_bar(torch.as_tensor(t) + 1)
        return add_inner_predictions(outputs, z, RESIDUAL, shares) if self.completes else outputs


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpm++"])
def test_samples_are_those_of_a_network_that_predicts_v(sampler):
    found, wanted = (
        sample(model, CONTEXT, process=DiffusionProcess(model.graph), seeds=[1, 2], sampler=sampler,
               num_inference_steps=4)
        for model in (Outputs(False), Outputs(True))
    )  # fmt: skip
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b)


def test_validation_losses_are_those_of_a_network_that_predicts_v():
    split = Split(4, 8)
    found, wanted = (
        HeldOut(model, DiffusionProcess(model.graph), split, ValidationSpec())
        for model in (Outputs(False), Outputs(True))
    )
    assert found.v_losses() == pytest.approx(wanted.v_losses())


def test_errors_by_log_snr_are_those_of_a_network_that_predicts_v(monkeypatch):
    # The network knows the schedule, not the ratios between its points.
    monkeypatch.setattr(measure, "_moved", lambda share, excess: share)
    split = Split(4, 8)
    found, wanted = (
        HeldOut(model, DiffusionProcess(model.graph), split, ValidationSpec()).errors()
        for model in (Outputs(False), Outputs(True))
    )
    assert found["r8"] and found.keys() == wanted.keys()
    assert all(found[label] == pytest.approx(wanted[label]) for label in found)
