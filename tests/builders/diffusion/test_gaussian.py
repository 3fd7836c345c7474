"""Normal data, whose optimal network is known: what losses train to, and what samplers make of it."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch

from builders.diffusion.losses import level_losses, snr_weights, total_loss
from builders.diffusion.predictions import v_from, x0_from
from builders.diffusion.process import DiffusionProcess, add_noise
from builders.diffusion.steps import ddim_step, ddpm_step, dpm_solver_step
from specs.graph import Process
from specs.schemas.recipe import LossSpec
from tests.helpers.gaussian import COVARIANCE, MEAN, exact_moments, optimal, optimal_map
from tests.helpers.graphs import plain_entry

KINDS = ("v", "eps", "x", "flow")
WEIGHTINGS = ("none", "vdm", "min_snr", "soft_min_snr", "sigmoid")
#: Spaces and weightings of a loss.
LOSSES = [*((space, "none") for space in ("v", "eps", "flow")), *(("eps", name) for name in WEIGHTINGS[1:])]


def images(values):
    """Values (rows, 3) as images of one pixel, float32."""
    return values.float()[:, :, None, None]


@pytest.mark.parametrize("time", [60, 500, 850])
@pytest.mark.parametrize("kind", KINDS)
def test_training_ends_at_the_posterior_mean(kind, time):
    """Of all networks that are affine in z, the best one by the loss predicts E[x | z], in every space and weighting.

    The sample has exactly the moments of the population, so that the least squares fit is exact, too.
    """
    process = DiffusionProcess(plain_entry(1, process=Process(prediction=kind)))
    x, eps = exact_moments(64)
    t = torch.full((64,), time)
    g = float(process.schedules[0][time + 1])
    z = add_noise(x, eps, g)
    rows = torch.cat([z, torch.ones(64, 1, dtype=torch.float64)], dim=1)
    posterior = MEAN + (z - g**0.5 * MEAN) @ torch.linalg.inv(g * COVARIANCE + (1 - g) * torch.eye(3)).T * g**0.5 @ (
        COVARIANCE
    )
    for space, weighting in LOSSES:
        loss = LossSpec(space=space, weighting=weighting)

        def measure(weights, loss=loss, weighting=weighting):
            losses = level_losses(
                [images(rows @ weights)], [images(x)], [images(eps)], t, process, loss, snr_weights(process, weighting)
            )
            return total_loss(losses, loss)

        # The loss is quadratic in the weights: its minimum is where the gradient, which is affine, vanishes.
        weights = torch.zeros(4, 3, dtype=torch.float64, requires_grad=True)
        gradient = torch.autograd.grad(measure(weights), weights, create_graph=True)[0].flatten()
        curvature = torch.stack([
            torch.autograd.grad(each, weights, retain_graph=True)[0].flatten() for each in gradient
        ])  # fmt: skip
        best = -torch.linalg.solve(curvature, gradient.detach()).reshape(4, 3)
        found = x0_from(kind, z, rows @ best, g)
        torch.testing.assert_close(found, posterior, rtol=0, atol=3e-4)
        gain, offset = optimal_map(kind, g)
        torch.testing.assert_close(best, torch.cat([gain.T, offset[None]]), rtol=1e-3, atol=1e-3)


#: Log-SNRs from 14 to -14 in equal steps, the variable in which the order of samplers is stated; index 0 is clean.
SCHEDULE = torch.sigmoid(torch.cat([torch.tensor([math.inf]), torch.linspace(14, -14, 8192)]).double())


def covariance_of(sampler: str, count: int, kind: str) -> torch.Tensor:
    """Return the covariance of samples (3, 3) exactly: every step is affine in z, so it is followed on a basis."""
    places = [round(8192 * (count - number) / count) for number in range(count + 1)]
    # The images of zero and of three unit vectors, float64; one row each.
    z = torch.cat([torch.zeros(1, 3), torch.eye(3)]).double()[:, :, None, None]
    noise, before = torch.zeros(3, 3, dtype=torch.float64), None
    for t, s in pairwise(places):
        g_t, g_s = SCHEDULE[t], SCHEDULE[s]
        v = v_from(kind, z, optimal(kind, z, float(g_t)), g_t)
        if sampler == "dpm++":
            z, x0 = dpm_solver_step(z, v, g_t, g_s, before, clip=False)
            before = x0, g_t
            continue
        if sampler == "ddim":
            z, _ = ddim_step(z, v, g_t, g_s, clip=False)
            continue
        ones = torch.ones_like(z)
        after, _ = ddpm_step(z, v, g_t, g_s, clip=False)
        step = ddpm_step(z, v, g_t, g_s, noise=ones if s else None, clip=False)[0] - after
        basis = torch.cat([torch.zeros(1, 3), torch.eye(3)]).double()[:, :, None, None]
        moved, _ = ddpm_step(basis, v_from(kind, basis, optimal(kind, basis, float(g_t)), g_t), g_t, g_s, clip=False)
        matrix = (moved[1:] - moved[:1])[:, :, 0, 0].T
        noise = matrix @ noise @ matrix.T + step[0, 0, 0, 0] ** 2 * torch.eye(3)
        z = after
    matrix = (z[1:] - z[:1])[:, :, 0, 0].T
    return matrix @ matrix.T + noise


@pytest.mark.parametrize(("sampler", "order"), [("ddim", 1), ("ddpm", 1), ("dpm++", 2)])
def test_samplers_reproduce_the_covariance_to_their_order(sampler, order):
    """With the exact network, twice the steps divide the error by 2, or by 4 for a sampler of the second order."""
    errors = [float((covariance_of(sampler, count, "v") - COVARIANCE).norm()) for count in (64, 128, 256)]
    for coarse, fine in pairwise(errors):
        assert coarse / fine == pytest.approx(2**order, rel=0.1)
    assert errors[-1] < (0.06 if order == 1 else 5e-4) * COVARIANCE.norm()


@pytest.mark.parametrize("kind", ["eps", "x", "flow"])
def test_samplers_treat_all_predictions_alike(kind):
    for sampler in ("ddim", "ddpm", "dpm++"):
        torch.testing.assert_close(
            covariance_of(sampler, 16, kind), covariance_of(sampler, 16, "v"), rtol=1e-4, atol=1e-6
        )
