"""The plain training step: the loss of every level, clipping, AdamW and a moving average."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.baseline.diffusion import add_noise, image_sized, level_loss

__all__ = ["Training", "loop_average"]

#: Function that moves averages towards weights: (averages, weights, decay).
Average = Callable[[list[Tensor], list[Tensor], float], None]


@torch.no_grad()
def loop_average(averages: list[Tensor], weights: list[Tensor], decay: float) -> None:
    """Move each average towards its weight."""
    for average, weight in zip(averages, weights, strict=True):
        average.mul_(decay).add_(weight, alpha=1 - decay)


class Training:
    """A network in training.

    The arguments are the places at which the ladder puts in one optimization after the other.

    Args:
        model: Network, called as ``model(z, t, **conditions)``.
        schedules: Schedule of every level, outermost first, index 0 clean.
        settings: Arguments of AdamW.
        clip: Largest norm of the gradient.
        decay: Decay of the moving average.
        read: Function that reads a schedule at indices, for images.
        average: Function that updates the moving average.
    """

    def __init__(
        self,
        model: nn.Module,
        schedules: Sequence[Tensor],
        settings: Mapping[str, Any],
        *,
        clip: float = 2.0,
        decay: float = 0.9999,
        read: Callable[[Tensor, Tensor, Tensor], Tensor] = image_sized,
        average: Average = loop_average,
    ) -> None:
        self.model, self.schedules = model.train(), schedules
        self.clip, self.decay, self.read, self.average = clip, decay, read, average
        self.averaged = copy.deepcopy(model).requires_grad_(False)
        self.optimizer = torch.optim.AdamW(model.parameters(), **{"foreach": False, **settings})
        self.done = 0

    def step(
        self, images: Sequence[Tensor], eps: Sequence[Tensor], t: Tensor, conditions: Mapping[str, Tensor]
    ) -> dict[str, float]:
        """Take one step; return the loss by level number.

        Args:
            images: Clean images (rows, channels, height, width) of every level, outermost first.
            eps: Noise in the same shapes.
            t: Time indices (rows,) from 0.
            conditions: Conditions of the network.
        """
        self.optimizer.zero_grad()
        read = [self.read(schedule, t[: len(x)] + 1, x) for schedule, x in zip(self.schedules, images, strict=True)]
        z = [add_noise(*each) for each in zip(images, eps, read, strict=True)]
        predictions = self.model(z, t, **conditions)
        losses = [level_loss(*each) for each in zip(predictions, images, eps, read, strict=True)]
        total = losses[0]
        for loss in losses[1:]:
            total = total + loss
        total.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        self.optimizer.step()
        decay = min(self.decay, (self.done + 1) / (self.done + 10))
        self.average(list(self.averaged.parameters()), list(self.model.parameters()), decay)
        self.done += 1
        return {str(index): loss.item() for index, loss in enumerate(losses)}
