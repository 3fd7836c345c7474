"""Angles of patterns whose harmonics along circles are known."""

from __future__ import annotations

import math

import pytest
import torch

from registry.evaluation.turning import _harmonics, turned

SIDE = 32


def polar(side: int = SIDE, x: float = 0.0, y: float = 0.0):
    """Radius, in sides, and angle from right to down of each pixel around a center in sides from the middle."""
    down, right = torch.meshgrid(*2 * [(torch.arange(side) + 0.5) / side - 0.5], indexing="ij")
    return ((right - x) ** 2 + (down - y) ** 2).sqrt(), torch.atan2(down - y, right - x)


def clip(dark: torch.Tensor) -> torch.Tensor:
    """A gray clip from ink (frames, height, width): (1, 3, frames, height, width) uint8."""
    return (255 * (1 - dark)).round().to(torch.uint8).expand(1, 3, *dark.shape).contiguous()


def turning(pattern, total: float, frames: int = 8) -> torch.Tensor:
    """A clip of a pattern of radius and angle that turns by ``total`` degrees."""
    radius, angle = polar()
    shown = [pattern(radius, angle - math.radians(total * frame / (frames - 1))) for frame in range(frames)]
    return clip(torch.stack(shown))


def middle(clips: torch.Tensor) -> torch.Tensor:
    return torch.zeros(len(clips), clips.shape[2], 2)


def round_once(radius, angle):
    return 0.5 + 0.5 * torch.cos(angle)


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize(("x", "y"), [(0.0, 0.0), (0.05, -0.08)])
def test_harmonics_of_one_wave(order, x, y):
    """32 of 64 directions times the amplitude, the root of the radius and the phase; nothing else, on 16 circles."""
    side, phase = 32, 0.7
    radius, angle = polar(side, x, y)
    dark = 0.5 + radius.clamp(max=0.5) * torch.cos(order * angle - phase)
    frames = torch.cat((clip(torch.stack((torch.zeros_like(dark), dark))),) * 2)
    centers = torch.tensor([x, y]).expand(2, 2, 2)
    found = _harmonics(frames, centers)
    assert found.shape == (2, 2, 3 * 16, 16) and not found[:, 0].abs().any()
    radii = (torch.arange(16) + 0.5) / 16 * 0.4
    expected = torch.zeros(16, 16, dtype=torch.complex64)
    expected[:, order - 1] = 32 * radii**1.5 * torch.exp(torch.tensor(-1j * phase))
    inside = slice(4, 14)  # pixels are too large for the smallest circles; the largest may leave the frame
    for color in range(3):
        circles = found[1, 1, 16 * color : 16 * (color + 1)][inside]
        torch.testing.assert_close(circles, expected[inside], atol=0.06, rtol=0.02)


@pytest.mark.parametrize("frames", [8, 40])
@pytest.mark.parametrize("total", [-145, -60, -5, 0, 5, 100, 145])
def test_angles_of_a_smooth_wave(total, frames):
    clips = turning(round_once, total, frames)
    assert turned(clips, middle(clips)).tolist() == [total]


def test_the_smallest_of_equal_angles():
    """A quarter turn between two frames of a fourfold pattern looks like none."""
    clips = turning(lambda radius, angle: 0.5 + 0.5 * torch.cos(4 * angle), 0, frames=2)
    assert turned(clips, middle(clips)).tolist() == [0]


def test_each_clip_has_its_own_angle():
    """Whatever the contrast of the others."""
    faint = turning(lambda radius, angle: (angle.cos() > 0) * (radius < 0.1) / 255, 145)
    strong = turning(round_once, -60)
    alone, both = turned(faint, middle(faint)), turned(torch.cat((strong, faint)), middle(torch.cat((strong, faint))))
    assert both.tolist() == [-60, alone.item()] and abs(alone.item()) > 100


def test_only_the_middle_of_the_frame_is_registered():
    def rings(radius, angle):
        return torch.where(radius < 0.42, 0.1 + 0.1 * torch.cos(angle), 0)

    clips = turning(rings, 60)
    radius, angle = polar()
    still = (radius > 0.45) & (angle.cos() > 0)
    clips[..., still] = 0
    assert turned(clips, middle(clips)).tolist() == [60]


def test_blank_clips_do_not_turn():
    white = torch.full((1, 3, 4, 16, 16), 255, dtype=torch.uint8)
    assert turned(white, torch.zeros(1, 4, 2)).tolist() == [0.0]
