"""Noising, targets and losses in float64 numpy, for any shape, precision and device."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from builders.diffusion.process import (
    DiffusionProcess,
    add_noise,
    eps_from_v,
    eps_loss,
    pyramid,
    v_loss,
    v_target,
    x0_from_v,
)
from builders.diffusion.schedules import noise_schedule
from specs.graph import Process
from tests.helpers.graphs import plain_entry

#: The two numbers (a, b) of z = a first + b second, as functions of alpha_bar.
LINEAR = {
    add_noise: lambda g: (np.sqrt(g), np.sqrt(1 - g)),
    v_target: lambda g: (-np.sqrt(1 - g), np.sqrt(g)),
    x0_from_v: lambda g: (np.sqrt(g), -np.sqrt(1 - g)),
    eps_from_v: lambda g: (np.sqrt(1 - g), np.sqrt(g)),
}
SHAPES = [(2, 5), (2, 3, 4, 4), (2, 3, 2, 4, 4)]


def pair(shape: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(shape, generator=generator).double(), torch.randn(shape, generator=generator).double()


@pytest.mark.parametrize("operation", LINEAR)
@pytest.mark.parametrize("shape", SHAPES)
def test_images_noise_and_v_are_turned_into_each_other(operation, shape):
    """arXiv 2310.15111, equation 1, and arXiv 2202.00512, section 4: rotations by an angle, exact in float64."""
    first, second = pair(shape)
    rows = np.array([0.3, 0.9])
    broadcast = rows.reshape(2, *[1] * (len(shape) - 1))
    for given in (torch.tensor(rows), torch.tensor(broadcast)):
        a, b = LINEAR[operation](broadcast)
        found = operation(first, second, given)
        np.testing.assert_allclose(found.numpy(), a * first.numpy() + b * second.numpy(), rtol=1e-12)
    a, b = LINEAR[operation](0.3)
    for number in (0.3, torch.tensor(0.3, dtype=torch.float64)):
        found = operation(first, second, number)
        np.testing.assert_allclose(found.numpy(), a * first.numpy() + b * second.numpy(), rtol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_losses_are_means_over_all_of_a_sample(shape):
    x, eps = pair(shape)
    v = torch.linspace(-1, 1, x.numel()).reshape(shape)
    rows = np.array([0.3, 0.9])
    g = rows.reshape(2, *[1] * (len(shape) - 1))
    target = np.sqrt(g) * eps.numpy() - np.sqrt(1 - g) * x.numpy()
    expected = np.array([np.mean(row**2) for row in v.numpy() - target])
    np.testing.assert_allclose(v_loss(v, x, eps, torch.tensor(rows)).numpy(), expected, rtol=1e-6)
    z = np.sqrt(g) * x.numpy() + np.sqrt(1 - g) * eps.numpy()
    error = np.sqrt(1 - g) * z + np.sqrt(g) * v.numpy() - eps.numpy()
    expected = np.array([np.mean(row**2) for row in error])
    np.testing.assert_allclose(eps_loss(v, x, eps, torch.tensor(rows)).numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("given", [0.5, torch.tensor([0.5, 0.7])])
def test_the_schedule_follows_to_the_images_device(given):
    """Meta is an example of a device other than the CPU."""
    x = torch.empty(2, 3, 4, 4, device="meta")
    for operation in LINEAR:
        assert operation(x, x, given).device.type == "meta"
    process = DiffusionProcess(plain_entry(8, 4), device="meta")
    assert {schedule.device.type for schedule in process.schedules} == {"meta"}
    assert {schedule.device.type for schedule in DiffusionProcess(plain_entry(8)).schedules} == {"cpu"}


def test_a_process_is_its_entrys():
    graph = plain_entry(32, 8, 4, process=Process("linear", steps=20, shift=2.0))
    process = DiffusionProcess(graph)
    assert process.graph is graph and process.steps == 20
    for schedule, ratio in zip(process.schedules, (8, 2, 1), strict=True):
        assert torch.equal(schedule, noise_schedule("linear", ratio, 2.0, 20))
    for index in (7, torch.tensor([3, 20])):
        for found, schedule in zip(process.alpha_bar(index), process.schedules, strict=True):
            assert torch.equal(found, schedule[index])


def test_a_pyramid_averages():
    image = torch.arange(2 * 16 * 16, dtype=torch.float64).reshape(1, 2, 16, 16)
    graph = plain_entry(8, 4, 2)
    for side, found in zip((8, 4, 2), pyramid(image, graph), strict=True):
        blocks = image.numpy().reshape(1, 2, side, 16 // side, side, 16 // side)
        np.testing.assert_allclose(found.numpy(), blocks.mean((3, 5)), rtol=1e-12)
    # What has the size already is not copied.
    images = pyramid(image[..., :8, :8], graph)
    assert [tuple(x.shape) for x in images] == [(1, 2, 8, 8), (1, 2, 4, 4), (1, 2, 2, 2)]
    assert pyramid(image, plain_entry(16))[0] is image
    with pytest.raises(ValueError, match="images of 12 pixels cannot be averaged to 8"):
        pyramid(image[..., :12], graph)


def test_every_level_needs_its_own_images_and_noise():
    process = DiffusionProcess(plain_entry(8, 4))
    images = [torch.zeros(2, 1, side, side) for side in (8, 4)]
    t = torch.tensor([0, 5])
    assert len(process.add_noise(images, images, t)) == 2
    for lacking in ((images[:1], images), (images, images[:1])):
        with pytest.raises(ValueError, match="zip"):
            process.add_noise(*lacking, t)


def test_a_mixed_batch_has_the_first_times():
    """Three rows outside, five inside: the row is what counts, not the channel."""
    process = DiffusionProcess(plain_entry(8, 4))
    images = [torch.ones(rows, 1, side, side) for rows, side in ((3, 8), (5, 4))]
    t = torch.tensor([0, 100, 200, 300, 999])
    found = process.add_noise(images, [torch.zeros_like(x) for x in images], t)
    for x, schedule, rows in zip(found, process.schedules, (3, 5), strict=True):
        np.testing.assert_allclose(x[:, 0, 0, 0].numpy(), schedule[t[:rows] + 1].sqrt().numpy(), rtol=1e-6)
