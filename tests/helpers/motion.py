"""Where the ink of clips is: statistics of motion that do not depend on the project's own."""

from __future__ import annotations

import torch
from torch import Tensor


def ink(clips: Tensor) -> Tensor:
    """Darkness from 0 to 1 of clips (N, 3, frames, height, width) in [-1, 1], by the darkest channel."""
    return 1 - ((clips + 1) / 2).amin(1)


def centers(clips: Tensor, above: float = 0.15) -> Tensor:
    """Centers of ink (N, frames, 2) as x and y in shares of the side; ink counts less ``above``."""
    mass = (ink(clips) - above).clamp(min=0)
    height, width = mass.shape[-2:]
    x = (mass.sum(-2) * (torch.arange(width) + 0.5) / width).sum(-1)
    y = (mass.sum(-1) * (torch.arange(height) + 0.5) / height).sum(-1)
    return torch.stack([x, y], -1) / mass.sum((-1, -2))[..., None]


def spread(clips: Tensor, above: float = 0.5) -> Tensor:
    """Size of the ink (N, frames): the root of its area above a limit."""
    return (ink(clips) > above).float().sum((-1, -2)).sqrt()
