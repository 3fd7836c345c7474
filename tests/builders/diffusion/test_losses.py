"""Losses by level: each row's own mean, weighted by its signal-to-noise ratio and its level's weight."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from builders.diffusion.losses import level_losses, sample_losses, snr_weights, total_loss
from builders.diffusion.process import DiffusionProcess, x0_from_v
from builders.diffusion.residual import add_inner_predictions
from builders.diffusion.schedules import log_snr_slope, min_snr_weight, sigmoid_weight, soft_min_snr_weight
from specs.graph import Process
from specs.recipe import LossSpec
from tests.helpers.graphs import plain_entry

PROCESS = DiffusionProcess(plain_entry(8, 4, process=Process(steps=50, shift=2.0)))
LABELS = ("r8", "r4")
#: The outer level has the first rows of a mixed batch.
ROWS = (2, 5)
T = torch.tensor([0, 49, 20, 3, 35])


def batch(seed: int = 0) -> tuple[list[torch.Tensor], list[torch.Tensor], list[torch.Tensor]]:
    """Predictions, images and noise of both levels."""
    generator = torch.Generator().manual_seed(seed)
    shapes = [(rows, 3, side, side) for rows, side in zip(ROWS, (8, 4), strict=True)]
    predictions, images, eps = ([torch.randn(shape, generator=generator) for shape in shapes] for _ in range(3))
    return predictions, images, eps


def expected(space: str, level: int) -> np.ndarray:
    """The unweighted loss of each row of a level in float64, from the definitions of v and z."""
    v, x, eps = (values[level].double().numpy() for values in batch())
    g = PROCESS.schedules[level].double().numpy()[T[: ROWS[level]].numpy() + 1].reshape(-1, 1, 1, 1)
    if space == "v":
        error = v - (np.sqrt(g) * eps - np.sqrt(1 - g) * x)
    else:
        z = np.sqrt(g) * x + np.sqrt(1 - g) * eps
        error = np.sqrt(1 - g) * z + np.sqrt(g) * v - eps
    return np.array([np.mean(row**2) for row in error])


def weight_of(weighting: str, level: int) -> np.ndarray:
    """The weight of each row by the papers' formulas (see test_schedules)."""
    g = PROCESS.schedules[level].double().numpy()
    snr = g[1:] / (1 - g[1:])
    index = T[: ROWS[level]].numpy()
    if weighting == "vdm":
        return (snr[np.maximum(index, 1) - 1] / snr[np.maximum(index, 1)]) - 1
    if weighting == "min_snr":
        return np.minimum(snr, 5)[index] / snr[index]
    if weighting == "soft_min_snr":
        return 1 / (1 + np.exp(-2) * snr[index])
    if weighting == "sigmoid":
        return log_snr_slope(PROCESS.schedules[level]).numpy()[index + 1] / (1 + np.exp(-2) * snr[index])
    return np.ones(len(index))


@pytest.mark.parametrize(
    ("space", "weighting"),
    [("v", "none"), *(("eps", name) for name in ("none", "vdm", "min_snr", "soft_min_snr", "sigmoid"))],
)
def test_every_rows_loss_has_the_weight_of_its_own_time(space, weighting):
    loss = LossSpec(space=space, weighting=weighting)
    weights = snr_weights(PROCESS, weighting)
    assert len(weights) == 2 and all((weight is None) == (weighting == "none") for weight in weights)
    found = sample_losses(*batch(), T, PROCESS, loss, weights)
    assert tuple(found) == LABELS
    means = level_losses(*batch(), T, PROCESS, loss=loss, weights=weights)
    for level, label in enumerate(LABELS):
        assert found[label].dtype == torch.float32 and found[label].shape == (ROWS[level],)
        wanted = expected(space, level) * weight_of(weighting, level)
        np.testing.assert_allclose(found[label].numpy(), wanted, rtol=1e-3, atol=1e-7)
        np.testing.assert_allclose(float(means[label]), wanted.mean(), rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("residual", [None, 0.5])
@pytest.mark.parametrize(("space", "weighting"), [("v", "none"), ("eps", "min_snr")])
def test_a_clipped_loss_has_no_error_beyond_the_limits_of_pixels(space, weighting, residual):
    """Levels of white images: only errors of pixels whose clean prediction is darker count."""
    process = DiffusionProcess(plain_entry(8, 4, process=Process(steps=50, shift=2.0, residual=residual)))
    outputs, _, eps = batch()
    white = [torch.ones_like(each) for each in eps]
    weights = snr_weights(process, weighting)
    found = sample_losses(outputs, white, eps, T, process, LossSpec(space=space, clip_x0=True), weights)
    shares = [g[T[: len(each)] + 1] for g, each in zip(process.schedules, white, strict=True)]
    z = process.add_noise(white, eps, T)
    predictions = add_inner_predictions(outputs, z, process.graph, shares)
    for label, v, noisy, g, weight in zip(LABELS, predictions, z, shares, weights, strict=True):
        darker = 1 - x0_from_v(noisy, v, g).clamp(max=1)
        wanted = darker.square().flatten(1).mean(1) / (1 - g)
        if weight is not None:
            wanted = wanted * g * weight[T[: len(g)] + 1]  # an error of eps is sqrt(alpha_bar) times one of v
        torch.testing.assert_close(found[label], wanted, rtol=1e-3, atol=1e-6)


def test_weights_follow_each_levels_shift():
    """A shift divides the SNR of a whole level; vdm weights are ratios of it and stay."""
    for weighting in ("vdm", "min_snr", "soft_min_snr", "sigmoid"):
        outer, inner = snr_weights(PROCESS, weighting)
        assert outer.shape == inner.shape == (51,)
        assert torch.allclose(outer, inner, rtol=0.01) == (weighting == "vdm")


@pytest.mark.parametrize(
    ("spelled", "function", "arguments"),
    [
        ({"name": "sigmoid", "bias": -1}, sigmoid_weight, {"bias": -1.0}),
        ({"name": "sigmoid"}, sigmoid_weight, {"bias": 2.0}),
        ({"name": "min_snr", "gamma": 2}, min_snr_weight, {"gamma": 2.0}),
        ({"name": "soft_min_snr", "gamma": 4}, soft_min_snr_weight, {"gamma": 4.0}),
        ("min_snr", min_snr_weight, {"gamma": 5.0}),
    ],
)
def test_arguments_of_a_weighting_are_used(spelled, function, arguments):
    weights = snr_weights(PROCESS, LossSpec(weighting=spelled).weighting)
    for found, schedule in zip(weights, PROCESS.schedules, strict=True):
        assert torch.equal(found, function(schedule, **arguments))


@pytest.mark.parametrize("lacking", range(4))
def test_each_level_needs_all_its_tensors(lacking):
    loss = LossSpec()
    values = [*batch(), snr_weights(PROCESS, "none")]
    values[lacking] = values[lacking][:1]
    *tensors, weights = values
    with pytest.raises(ValueError, match="zip"):
        sample_losses(*tensors, T, PROCESS, loss, weights)


def test_losses_are_summed_by_their_levels_weights():
    losses = {
        label: torch.tensor(value, requires_grad=True) for label, value in (("r16", 2.0), ("r8", 3.0), ("r4", 7.0))
    }
    total = total_loss(losses, LossSpec(levels={"r8": 0.5, "r4": 10.0}))
    assert total.item() == 2 + 0.5 * 3 + 10 * 7
    total.backward()
    assert [value.grad.item() for value in losses.values()] == [1, 0.5, 10]
    assert total_loss(losses, LossSpec()).item() == 12


@pytest.mark.parametrize("weight", [0.0, None])
def test_a_level_without_weight_takes_no_part(weight):
    """A zero times NaN would be NaN, and a zero gradient would still be decayed and averaged."""
    losses = {"r8": torch.tensor(float("nan"), requires_grad=True), "r4": torch.tensor(7.0, requires_grad=True)}
    total = total_loss(losses, LossSpec(levels={"r8": weight}))
    total.backward()
    assert total.item() == 7 and losses["r8"].grad is None
