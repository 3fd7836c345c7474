"""Exponential moving average (EMA) of the weights of a network."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from builders.networks.nested_unet import NestedUNet
from builders.networks.parameters import level_of, load_inner
from builders.training.sharding.tensors import local

__all__ = ["EMA", "ema_decay"]

#: Number of tensors whose differences are in memory at once.
_AT_ONCE = 16


def ema_decay(decay: float, age: int) -> float:
    """Return the decay of one update, which grows from 0.1 to its final value.

    While it grows, the average is close to the power function average of arXiv 2312.02696, section 3.1, with gamma 8.

    Args:
        decay: Final decay, in [0, 1).
        age: Number of updates before this one.
    """
    return min(decay, (age + 1) / (age + 10))


class EMA:
    """Exponential moving average of a network's weights. Each level has its own age.

    Args:
        model: Network that is trained. Its frozen parameters are not averaged.
        decay: Final decay per update, see :func:`ema_decay`.
        average: Network for the averages, with the same weights. Default: a copy of ``model``.

    Attributes:
        model: Network with the averaged weights.
        ages: Updates of each level's average before this phase, by label.
    """

    def __init__(self, model: NestedUNet, decay: float, average: NestedUNet | None = None) -> None:
        self.decay = decay
        self.model = copy.deepcopy(model) if average is None else average
        self.model.requires_grad_(False)
        self.ages = dict.fromkeys(model.labels, 0)
        self._source = model
        averages = dict(self.model.named_parameters())
        self._pairs: dict[str, tuple[list[Tensor], list[Tensor]]] = {label: ([], []) for label in model.labels}
        for name, weight in model.named_parameters():
            if weight.requires_grad:
                pair = self._pairs[level_of(name, model.labels)]
                pair[0].append(averages[name])
                pair[1].append(weight)

    def decay_at(self, age: int) -> float:
        """Return the decay of the update after ``age`` others."""
        return ema_decay(self.decay, age)

    def moves(self, label: str) -> bool:
        """Return whether the average of a level moves, because the level is trained."""
        return bool(self._pairs[label][1])

    def update(self, step: int, good: Tensor | None = None) -> None:
        """Move the average of the trained levels towards the weights.

        Args:
            step: Step of the phase, from 0.
            good: Whether to move it, as a boolean on the device. Default: yes.
        """
        with torch.no_grad():
            for label, (averages, weights) in self._pairs.items():
                if weights:
                    averages, weights = [local(each) for each in averages], [local(each) for each in weights]
                    share = 1 - self.decay_at(self.ages[label] + step)
                    if good is None:
                        torch._foreach_lerp_(averages, weights, share)
                    else:
                        _move(averages, weights, good * share)

    def restart(self) -> None:
        """Set the average to the current weights."""
        self.model.load_state_dict(self._source.state_dict())

    def carry(self, before: EMA, steps: int) -> None:
        """Continue the average of the previous phase, and set frozen weights to their average.

        The averaged weights are the published ones, so these are what the other levels must be trained against.

        Args:
            before: Average of the previous phase, of the same or of fewer levels.
            steps: Steps of that phase.
        """
        load_inner(self.model, before.model.state_dict())
        self.ages |= before.ages_after(steps)
        averages = dict(self.model.named_parameters())
        with torch.no_grad():
            for name, weight in self._source.named_parameters():
                if not weight.requires_grad:
                    weight.copy_(averages[name])

    def ages_after(self, steps: int) -> dict[str, int]:
        """Return the age of each level after some steps of this phase; frozen levels do not age."""
        return {label: age + steps if self.moves(label) else age for label, age in self.ages.items()}


def _move(averages: list[Tensor], weights: list[Tensor], share: Tensor) -> None:
    """Move averages towards weights by a share that only the device knows."""
    for start in range(0, len(weights), _AT_ONCE):
        part = averages[start : start + _AT_ONCE]
        change = torch._foreach_sub(weights[start : start + _AT_ONCE], part)
        torch._foreach_mul_(change, share)
        torch._foreach_add_(part, change)
