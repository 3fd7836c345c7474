"""The plain diffusion process: noise, loss and sampling, with schedules read into tensors of the images' size."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

__all__ = ["Predict", "add_noise", "ddim", "even_times", "guided", "image_sized", "level_loss"]

#: Function of the noisy images of every level and a time index to the predictions of every level.
Predict = Callable[[list[Tensor], int], list[Tensor]]


def image_sized(schedule: Tensor, index: Tensor, like: Tensor) -> Tensor:
    """Return the schedule at indices (rows,) in the shape of images (rows, channels, height, width)."""
    return schedule[index].reshape(-1, 1, 1, 1).expand(like.shape)


def add_noise(x: Tensor, eps: Tensor, alpha_bar: Tensor) -> Tensor:
    """Return noisy images."""
    return torch.sqrt(alpha_bar) * x + torch.sqrt(1 - alpha_bar) * eps


def level_loss(v: Tensor, x: Tensor, eps: Tensor, alpha_bar: Tensor) -> Tensor:
    """Return the mean squared error in v space."""
    target = torch.sqrt(alpha_bar) * eps - torch.sqrt(1 - alpha_bar) * x
    return ((v - target) ** 2).mean()


def guided(
    model: Callable[..., list[Tensor]], given: Mapping[str, Any], none: Mapping[str, Any], scale: float
) -> Predict:
    """Return a prediction with classifier-free guidance, both halves in one batch; conditions are encoded each time.

    Args:
        model: Network.
        given: Conditions, one row per sample.
        none: The same without conditions.
        scale: Guidance scale.
    """
    both = {name: torch.cat([given[name], none[name]]) for name in given}

    def predict(z: list[Tensor], t: int) -> list[Tensor]:
        doubled = [torch.cat([level, level]) for level in z]
        times = torch.full((len(doubled[-1]),), t, device=z[0].device)
        pairs = [level.chunk(2) for level in model(doubled, times, **both)]
        return [without + scale * (with_ - without) for with_, without in pairs]

    return predict


def even_times(steps: int, count: int) -> list[int]:
    """Return indices of a schedule, evenly spaced from ``steps`` down to 0."""
    return [round(steps * (count - index) / count) for index in range(count + 1)]


@torch.no_grad()
def ddim(predict: Predict, noise: Sequence[Tensor], schedules: Sequence[Tensor], times: Sequence[int]) -> list[Tensor]:
    """Draw samples by DDIM.

    Args:
        predict: Prediction of v.
        noise: Images of noise of every level, (samples, channels, height, width).
        schedules: Schedule of every level, index 0 clean.
        times: Indices of the schedule, falling to 0.
    """
    z = list(noise)
    for t, s in pairwise(times):
        for index, v in enumerate(predict(z, t - 1)):
            x = z[index]
            rows = torch.full((len(x),), t, device=x.device)
            now = image_sized(schedules[index], rows, x)
            then = image_sized(schedules[index], rows - t + s, x)
            clean = (torch.sqrt(now) * x - torch.sqrt(1 - now) * v).clamp(-1, 1)
            eps = (x - torch.sqrt(now) * clean) / torch.sqrt(1 - now)
            z[index] = torch.sqrt(then) * clean + torch.sqrt(1 - then) * eps
    return z
