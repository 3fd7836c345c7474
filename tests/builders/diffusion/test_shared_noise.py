"""Noise that levels share: the noisy image of a level is what it sees of the one around it, with noise added."""

from __future__ import annotations

import math

import pytest
import torch

from builders.diffusion.process import DiffusionProcess, pyramid, seen_by
from builders.diffusion.shared_noise import share_noise, share_z
from specs.graph import Process
from tests.helpers.graphs import clip_entry, plain_entry


def drawn(graph, rows, seed=0):
    """Independent noise of every level, with some rows each."""
    generator = torch.Generator().manual_seed(seed)
    shapes = [(count, 3, *level.size.shape) for count, level in zip(rows, graph.levels, strict=True)]
    return [torch.randn(shape, generator=generator) for shape in shapes]


ENTRIES = {
    "shift 1": plain_entry(16, 8, 2, process=Process(noise="shared")),
    "shift 2": plain_entry(16, 8, 2, process=Process(noise="shared", shift=2)),
    "base": plain_entry(12, 4, process=Process(noise="shared", shift=0.5, base=2)),
    "clips": clip_entry((16, 4), (4, 2), (2, 1), process=Process(noise="shared", shift=0.8)),
}


@pytest.mark.parametrize("name", ENTRIES)
def test_inner_noise_is_standard_normal_and_correlated_as_stated(name):
    graph = ENTRIES[name]
    own = drawn(graph, [3000 // len(graph.levels)] * len(graph.levels))
    eps = share_noise(own, graph)
    assert eps[0] is own[0]
    for index, level in enumerate(graph.levels[1:], 1):
        assert eps[index].shape == own[index].shape
        assert float(eps[index].std()) == pytest.approx(1, rel=0.03)
        flat = eps[index].flatten(2)
        assert abs(float((flat[..., 1:] * flat[..., :-1]).mean())) < 0.05  # neighbours are independent
        seen = seen_by(eps[index - 1], level)
        found = float((seen * eps[index]).mean() / seen.std())
        assert found == pytest.approx(graph.noise_correlations[index - 1], abs=0.05)


@pytest.mark.parametrize("name", ENTRIES)
def test_inner_noisy_images_are_seen_of_those_around_them(name):
    """z_i = sqrt(g_i / g_o) avg(z_o) + noise of its own, at every time and with the marginal of its schedule."""
    graph = ENTRIES[name]
    process, own = DiffusionProcess(graph), drawn(graph, [4] * len(graph.levels))
    images = pyramid(drawn(graph, [4] * len(graph.levels), seed=1)[0], graph)
    for time in (0, 40, 500, 960):
        z = process.add_noise(images, share_noise(own, graph), torch.full((4,), time))
        shares = [schedule[time + 1] for schedule in process.schedules]
        for index, level in enumerate(graph.levels[1:], 1):
            g, around = shares[index].double(), shares[index - 1].double()
            rest = math.sqrt(max(0, 1 - graph.noise_correlations[index - 1] ** 2))
            wanted = (g / around).sqrt() * seen_by(z[index - 1].double(), level) + (1 - g).sqrt() * rest * own[index]
            torch.testing.assert_close(z[index].double(), wanted, rtol=1e-3, atol=1e-3)
        found = share_z([z[0], *own[1:]], own, graph, shares)
        for one, other in zip(found, z, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


def test_correlations_follow_from_the_shift():
    assert ENTRIES["shift 1"].noise_correlations == pytest.approx((2**-0.5, 0.5))
    assert ENTRIES["shift 2"].noise_correlations == pytest.approx((1, 1))
    assert ENTRIES["base"].noise_correlations == pytest.approx((3**-0.75,))
    first = math.sqrt((4 * math.sqrt(2)) ** 0.8) / 4
    assert ENTRIES["clips"].noise_correlations == pytest.approx((first, math.sqrt((2 * math.sqrt(2)) ** 0.8) / 2))


def test_rows_of_inner_levels_alone_keep_their_noise():
    graph = ENTRIES["shift 1"]
    own = drawn(graph, [1, 2, 5])
    eps = share_noise(own, graph)
    assert torch.equal(eps[1][1:], own[1][1:]) and torch.equal(eps[2][2:], own[2][2:])
    alone = share_noise([each[:1] for each in own], graph)
    assert torch.equal(eps[1][:1], alone[1]) and torch.equal(eps[2][:1], alone[2])
    assert not torch.equal(eps[1][:1], own[1][:1])


def test_independent_noise_is_left_alone():
    graph = plain_entry(8, 4)
    own = drawn(graph, [2, 2])
    shares = [schedule[5] for schedule in DiffusionProcess(graph).schedules]
    assert all(one is other for one, other in zip(share_noise(own, graph), own, strict=True))
    assert all(one is other for one, other in zip(share_z(own, own[::-1], graph, shares), own, strict=True))
