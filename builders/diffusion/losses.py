"""The training loss: every level's own mean, weighted and summed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from builders.diffusion.process import DiffusionProcess, eps_loss, min_snr_weight, sigmoid_weight, v_loss, vdm_weight
from specs.schemas.recipe import LossSpec

__all__ = ["level_losses", "sample_losses", "snr_weights", "total_loss"]

#: Weight tables (steps + 1,) of the eps loss from a schedule.
WEIGHTINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "vdm": vdm_weight,
    "min_snr": min_snr_weight,
    "sigmoid": sigmoid_weight,
}


def snr_weights(process: DiffusionProcess, weighting: str) -> list[Tensor | None]:
    """For each level, the weight of the loss at every schedule index; None for no weighting."""
    if weighting == "none":
        return [None] * len(process.schedules)
    return [WEIGHTINGS[weighting](schedule) for schedule in process.schedules]


def sample_losses(
    predictions: Sequence[Tensor],
    images: Sequence[Tensor],
    eps: Sequence[Tensor],
    t: Tensor,
    process: DiffusionProcess,
    loss: LossSpec,
    weights: Sequence[Tensor | None],
) -> dict[str, Tensor]:
    """The loss of every row of every level, (rows,) float32, by label (arXiv 2310.15111, equation 4).

    Args:
        predictions: v predictions, outermost first.
        images: clean images in the same shapes.
        eps: the noise that was added.
        t: time index (batch,) in 0..steps - 1.
        process: the entry's process.
        loss: space and weighting.
        weights: what ``snr_weights`` gave.
    """
    measure = v_loss if loss.space == "v" else eps_loss
    result = {}
    for label, v, x, noise, schedule, weight in zip(
        process.graph.labels, predictions, images, eps, process.schedules, weights, strict=True
    ):
        index = t[: x.shape[0]] + 1
        each = measure(v, x, noise, schedule[index])
        result[label] = each if weight is None else each * weight[index]
    return result


def level_losses(*args: Any, **kwargs: Any) -> dict[str, Tensor]:
    """The loss of every level, the mean over its own rows, by label; arguments as :func:`sample_losses`."""
    return {label: each.mean() for label, each in sample_losses(*args, **kwargs).items()}


def total_loss(losses: Mapping[str, Tensor], loss: LossSpec) -> Tensor:
    """The weighted sum over the levels that have a weight; the others take no part, not even with zeros."""
    return torch.stack([loss.weight(label) * value for label, value in losses.items() if loss.weight(label)]).sum()
