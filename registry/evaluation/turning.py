"""Angles by which things turn in clips: registration of all frames by rotation, in polar coordinates.

Second moments say nothing of round things, and the last frame registered on the first alone says little of things that
look alike after part of a turn, such as a star. A turn that is even in time aligns all frames at once.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["turned"]

#: Radius of the registered disc, as a part of the side.
RADIUS = 0.4
#: Directions in which each circle is read, and its harmonics that are compared.
DIRECTIONS, HARMONICS = 64, 16
#: Angles that are tried, in degrees.
ANGLES = tuple(range(-150, 151, 5))


def turned(frames: Tensor, centers: Tensor) -> Tensor:
    """Return how far things turn from the first frame to the last, in degrees, clockwise positive.

    The angle is the one at which the sum of all frames, each turned back by its part of the angle, has the most
    energy that changes along circles around the centers.

    Args:
        frames: Clips on a white ground, (clips, 3, frames, height, width) uint8.
        centers: Centers of the things in each frame, x and y, (clips, frames, 2), in sides from the middle.

    Returns:
        Angles (clips,) float32, one of :data:`ANGLES` each; 0 for a thing without features along its circles.
    """
    import torch

    harmonics = _harmonics(frames, centers)
    time = torch.linspace(-0.5, 0.5, frames.shape[2])
    order = torch.arange(1, harmonics.shape[-1] + 1)
    angles = torch.tensor([float(angle) for angle in ANGLES])
    phases = torch.exp(1j * torch.deg2rad(angles)[:, None, None] * time[:, None] * order)  # (angles, frames, K)
    aligned = torch.einsum("nfck,afk->nack", harmonics, phases.to(harmonics.dtype))
    energy = aligned.abs().square().sum((2, 3))  # (clips, angles)
    # The smallest angle of equals: no turn rather than any.
    plain = energy - 1e-6 * energy.amax(1, keepdim=True).clamp(min=1e-6) * angles.abs() / max(ANGLES)
    return angles[plain.argmax(1)]


def _harmonics(frames: Tensor, centers: Tensor) -> Tensor:
    """Return the harmonics along circles around the centers, (clips, frames, 3 circles, HARMONICS) complex."""
    import torch

    count, _, length, height, width = frames.shape
    circles = min(height, width) // 2
    radii = (torch.arange(circles) + 0.5) / circles * RADIUS
    directions = torch.arange(DIRECTIONS) * (2 * math.pi / DIRECTIONS)
    offsets = radii[:, None, None] * torch.stack((directions.cos(), directions.sin()), -1)  # (circles, directions, 2)
    places = 2 * (centers.reshape(-1, 1, 1, 2) + offsets)  # the corners of a frame are -1 and 1
    dark = 1 - frames.transpose(1, 2).reshape(count * length, 3, height, width).float() / 255  # the ground is zero
    read = torch.nn.functional.grid_sample(dark, places.nan_to_num(), align_corners=False)
    found = torch.fft.rfft(read * radii.sqrt()[:, None])[..., 1 : HARMONICS + 1]
    return found.reshape(count, length, 3 * circles, -1)
