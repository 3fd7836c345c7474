"""Predictions of v, eps, x and flow: conversions, and losses that mean the same for each of them."""

from __future__ import annotations

import pytest
import torch

from builders.diffusion.losses import sample_losses, snr_weights
from builders.diffusion.predictions import excuse_clipped, prediction_loss, prediction_target, v_from, x0_from
from builders.diffusion.process import DiffusionProcess, add_noise
from specs.graph import Process
from specs.schemas.recipe import LossSpec
from tests.helpers.graphs import plain_entry

KINDS = ("v", "eps", "x", "flow")
G = torch.tensor([0.999, 0.7, 0.2, 0.01])


def batch(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(4, 3, 4, 4, generator=generator) for _ in range(3))


def test_targets_are_those_of_the_papers():
    x, eps = torch.tensor([[[[2.0]]]]), torch.tensor([[[[3.0]]]])
    found = {kind: prediction_target(kind, x, eps, 0.64).item() for kind in KINDS}
    assert found == pytest.approx({"v": 0.8 * 3 - 0.6 * 2, "eps": 3, "x": 2, "flow": 1})


@pytest.mark.parametrize("kind", KINDS)
def test_the_target_gives_back_the_image_and_v(kind):
    x, eps, _ = batch()
    z, target = add_noise(x, eps, G), prediction_target(kind, x, eps, G)
    torch.testing.assert_close(x0_from(kind, z, target, G), x, atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(v_from(kind, z, target, G), prediction_target("v", x, eps, G), atol=2e-5, rtol=1e-4)


def test_a_v_without_noise_is_itself():
    x, v, _ = batch()
    assert torch.equal(v_from("v", x, v, 1.0), v)


def test_the_flow_is_the_velocity_of_the_straight_line():
    """Along z / (sqrt(g) + sqrt(1 - g)), from the image to the noise, the position changes by flow times ds."""
    x, eps, _ = (each[:1].double() for each in batch())

    def place(g):
        scale = g**0.5 + (1 - g) ** 0.5
        return add_noise(x, eps, g) / scale, (1 - g) ** 0.5 / scale

    (before, s), (after, later) = place(0.6), place(0.4)
    torch.testing.assert_close((after - before) / (later - s), prediction_target("flow", x, eps, 0.5))


@pytest.mark.parametrize("space", KINDS)
@pytest.mark.parametrize("kind", KINDS)
def test_an_error_in_a_space_is_that_of_what_the_prediction_implies(kind, space):
    x, eps, guess = batch()
    z = add_noise(x, eps, G)
    clean = x0_from(kind, z.double(), guess.double(), G)
    noise = (z - G.double().sqrt().view(-1, 1, 1, 1) * clean) / (1 - G.double()).sqrt().view(-1, 1, 1, 1)
    implied, target = (prediction_target(space, *pair, G) for pair in ((clean, noise), (x, eps)))
    wanted = (implied - target).square().flatten(1).mean(1)
    found = prediction_loss(kind, space, guess, x, eps, G)
    assert found.dtype == torch.float32 and found.shape == (4,)
    torch.testing.assert_close(found.double(), wanted, rtol=2e-4, atol=0)


#: Pixels, clean predictions, and whether clipping the prediction to [-1, 1] makes it exact although it is not.
CLIPPED = [
    (1.0, 1.3, True),
    (1.0, 0.9, False),
    (1.0, -1.3, False),
    (-1.0, -1.3, True),
    (-1.0, -0.9, False),
    (-1.0, 1.3, False),
    (0.99, 1.3, False),
    (-0.99, -1.3, False),
    (0.0, 0.2, False),
]


@pytest.mark.parametrize("g", [0.95, 0.4, 0.05])
@pytest.mark.parametrize("kind", KINDS)
def test_errors_that_clipping_removes_are_excused(kind, g):
    """They have no loss and no gradient; other predictions are returned as they are."""
    x, clean, exact = (torch.tensor(column).view(1, 1, 3, 3) for column in zip(*CLIPPED, strict=True))
    eps = torch.randn(1, 1, 3, 3, generator=torch.Generator().manual_seed(0))
    noise = (add_noise(x, eps, g) - g**0.5 * clean) / (1 - g) ** 0.5
    guess = prediction_target(kind, clean, noise, g).requires_grad_()
    found = excuse_clipped(kind, guess, x, eps, g)
    torch.testing.assert_close(x0_from(kind, add_noise(x, eps, g), found, g), torch.where(exact, x, clean))
    assert torch.equal(found[~exact], guess[~exact])
    prediction_loss(kind, "v", found, x, eps, g).sum().backward()
    assert torch.equal(guess.grad != 0, ~exact)


@pytest.mark.parametrize("kind", ["eps", "x", "flow"])
@pytest.mark.parametrize("weighting", ["none", "vdm", "min_snr", "soft_min_snr", "sigmoid"])
def test_weightings_mean_the_same_for_every_prediction(kind, weighting):
    """Predictions that imply the same image have the same loss; clips and rows as in the losses of v."""
    processes = [DiffusionProcess(plain_entry(8, 4, process=Process(prediction=each))) for each in ("v", kind)]
    generator = torch.Generator().manual_seed(1)
    shapes, t = [(2, 3, 8, 8), (5, 3, 4, 4)], torch.tensor([200, 500, 20, 700, 900])
    x, eps, v = ([torch.randn(shape, generator=generator) for shape in shapes] for _ in range(3))
    z, shares = processes[0].add_noise(x, eps, t), [s[t[: len(e)] + 1] for s, e in zip(
        processes[0].schedules, x, strict=True)]  # fmt: skip
    clean = [x0_from("v", *each) for each in zip(z, v, shares, strict=True)]
    noise = [prediction_target("eps", c, _noise(n, c, g), g) for n, c, g in zip(z, clean, shares, strict=True)]
    other = [prediction_target(kind, c, n, g) for c, n, g in zip(clean, noise, shares, strict=True)]
    loss = LossSpec(space="eps", weighting=weighting)
    found = [
        sample_losses(each, x, eps, t, process, loss, snr_weights(process, weighting))
        for each, process in zip((v, other), processes, strict=True)
    ]
    for label in ("r8", "r4"):
        torch.testing.assert_close(found[1][label], found[0][label], rtol=1e-3, atol=1e-7)


def _noise(z, clean, g):
    g = g.view(-1, 1, 1, 1)
    return (z - g.sqrt() * clean) / (1 - g).sqrt()
