"""Offset noise: its covariance, where it is drawn, and that samplers draw from the process that has it."""

from __future__ import annotations

import pytest
import torch

from builders.diffusion.offset_noise import add_offset
from builders.diffusion.process import DiffusionProcess
from builders.diffusion.steps import ddim_step, ddpm_step
from builders.sampling.sampler import initial_noise
from builders.training.held_out.keyed import keyed_noise
from builders.training.reading.noise import BatchShape, draw_by_batch, draw_by_row
from specs.load import load_entry
from specs.schemas.recipe import DropSpec

PLAIN = load_entry("mdm-micro").graph
OFFSET = load_entry("mdm-micro", overrides=["process.noise={offset: 0.5}"]).graph


def source(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_channels_have_a_constant_each() -> None:
    noise = torch.randn(2, 3, 4, 4, generator=source())
    found = add_offset(noise, 0.5, source(1)) - noise
    constants = found[:, 0, 0, 0]
    torch.testing.assert_close(found, constants.reshape(2, 1, 1, 1).expand_as(found), atol=1e-6, rtol=0)
    torch.testing.assert_close(constants, 0.5 * torch.randn(2, generator=source(1)), atol=1e-6, rtol=0)
    generator = source(1)
    assert add_offset(noise, 0.0, generator) is noise
    assert torch.equal(torch.randn(2, generator=generator), torch.randn(2, generator=source(1)))  # nothing was drawn


def covariance(noise: torch.Tensor) -> tuple[float, float]:
    """Return the variance of pixels, and the covariance of two pixels of a channel."""
    flat = noise.flatten(2).double()
    mean = flat.sum(2)
    pixels = flat.shape[2]
    variance = flat.square().mean()
    return float(variance), float((mean.square().mean() - pixels * variance) / pixels / (pixels - 1))


def draws(graph, kind) -> list[torch.Tensor]:
    rows = 1500
    if kind == "sampler":
        return initial_noise(DiffusionProcess(graph), [[source(2 * i), source(2 * i + 1)] for i in range(rows)], "cpu")
    if kind == "held out":
        keys, offset = [str(i) for i in range(rows)], graph.process.offset
        return [keyed_noise(keys, each.label, 3, each.size.shape, "time", offset=offset) for each in graph.levels]
    draw = draw_by_row if kind == "rows" else draw_by_batch
    return draw(BatchShape(graph, (rows, rows)), 1000, DropSpec(), 0, "p16", 0).eps


@pytest.mark.parametrize("kind", ["rows", "batch", "held out", "sampler"])
def test_noise_of_training_validation_and_samples_has_the_same_covariance(kind: str) -> None:
    for level in draws(OFFSET, kind):
        assert covariance(level) == pytest.approx((1.25, 0.25), abs=0.03)
    outer, inner = draws(OFFSET, kind)
    means = torch.stack([outer.flatten(2).mean(2).flatten(), inner.flatten(2).mean(2).flatten()])
    assert abs(float(torch.corrcoef(means)[0, 1])) < 0.06  # each level has constants of its own


def test_noise_of_pixels_is_that_without_an_offset() -> None:
    """So losses of entries with and without it differ by the offset alone, and the first level of a row as well."""
    keys = ["a", "b"]
    plain, offset = (keyed_noise(keys, "r8", 3, (8, 8), "time", offset=strength) for strength in (0.0, 0.5))
    assert (offset - plain).std((2, 3)).max() < 1e-6
    shape = (BatchShape(each, (2, 2)) for each in (PLAIN, OFFSET))
    plain, offset = (draw_by_row(each, 1000, DropSpec(), 0, "p16", 0).eps[-1] for each in shape)
    assert (offset - plain).std((2, 3)).max() < 1e-6 < (offset - plain).abs().min()


@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
def test_samplers_reproduce_the_covariance_of_gaussian_data(sampler: str) -> None:
    """With the exact posterior mean in place of a network, from the first noise to the clean image."""
    rows, pixels, size = 2000, 3, 0.6
    schedule = DiffusionProcess(OFFSET).schedules[1].double()
    ones = torch.ones(pixels, pixels, dtype=torch.float64)
    eye = torch.eye(pixels, dtype=torch.float64)
    data, noise = size**2 * (0.5 * eye + 0.5 * ones), eye + 0.25 * ones
    root = torch.linalg.cholesky(noise)
    generator = source(3)

    def fresh() -> torch.Tensor:
        return torch.randn(rows, pixels, generator=generator, dtype=torch.float64) @ root.T

    z, times = fresh(), list(range(1000, 0, -20 if sampler == "ddim" else -10))
    for t, s in zip(times, [*times[1:], 0], strict=True):
        g = schedule[t]
        clean = z @ torch.linalg.solve(g * data + (1 - g) * noise, g.sqrt() * data)
        v = (g.sqrt() * z - clean) / (1 - g).sqrt()
        if sampler == "ddim":
            z, _ = ddim_step(z, v, float(g), float(schedule[s]), clip=False)
        else:
            z, _ = ddpm_step(z, v, float(g), float(schedule[s]), noise=fresh() if s else None, clip=False)
    found = z.T @ z / rows
    torch.testing.assert_close(found, data, atol=0.05, rtol=0)
