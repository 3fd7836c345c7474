"""The training loss: the mean of every level, weighted and summed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from builders.diffusion.predictions import excuse_clipped, prediction_loss
from builders.diffusion.process import (
    DiffusionProcess,
    min_snr_weight,
    sigmoid_weight,
    soft_min_snr_weight,
    vdm_weight,
)
from builders.diffusion.residual import add_inner_predictions
from specs.schemas.recipe import LossSpec
from specs.schemas.weighting import WeightingSpec

__all__ = ["level_losses", "sample_losses", "snr_weights", "total_loss"]

#: Functions from a schedule, and arguments, to the weights of the eps loss, both (steps + 1,).
WEIGHTINGS: dict[str, Callable[..., Tensor]] = {
    "vdm": vdm_weight,
    "min_snr": min_snr_weight,
    "soft_min_snr": soft_min_snr_weight,
    "sigmoid": sigmoid_weight,
}


def snr_weights(process: DiffusionProcess, weighting: WeightingSpec | str) -> list[Tensor | None]:
    """Return the weights of the loss (steps + 1,) of each level, outermost first, or None for no weighting.

    Args:
        process: Process of the entry.
        weighting: A weighting with its arguments, or the name of one with its defaults.
    """
    spec = WeightingSpec.model_validate({"name": weighting}) if isinstance(weighting, str) else weighting
    if spec.name == "none":
        return [None] * len(process.schedules)
    return [WEIGHTINGS[spec.name](schedule, **spec.arguments) for schedule in process.schedules]


def sample_losses(
    predictions: Sequence[Tensor],
    images: Sequence[Tensor],
    eps: Sequence[Tensor],
    t: Tensor,
    process: DiffusionProcess,
    loss: LossSpec,
    weights: Sequence[Tensor | None],
) -> dict[str, Tensor]:
    """Return the loss of every row of every level, (rows,) float32, by label (arXiv 2310.15111, equation 4).

    The loss of a row is the mean over all values of its image or clip.

    Args:
        predictions: Outputs of the network (rows, channels, height, width), or (rows, channels, frames, height, width)
            for clips, by level, outermost first, of the process' kind.
        images: Clean images in the same shapes.
        eps: Noise that was added, in the same shapes.
        t: Time indices (batch,) in 0..steps - 1.
        process: Process of the entry.
        loss: Space of the loss, and whether errors that clipping removes count.
        weights: Result of :func:`snr_weights`.
    """
    kind = process.graph.process.prediction
    predictions = _complete(predictions, images, eps, t, process)
    result = {}
    for label, predicted, x, noise, schedule, weight in zip(
        process.graph.labels, predictions, images, eps, process.schedules, weights, strict=True
    ):
        index = t[: x.shape[0]] + 1
        if loss.clip_x0:
            predicted = excuse_clipped(kind, predicted.float(), x, noise, schedule[index])
        each = prediction_loss(kind, loss.space, predicted, x, noise, schedule[index])
        result[label] = each if weight is None else each * weight[index]
    return result


def _complete(
    outputs: Sequence[Tensor], images: Sequence[Tensor], eps: Sequence[Tensor], t: Tensor, process: DiffusionProcess
) -> Sequence[Tensor]:
    """Return the predictions of every level from the outputs of the network."""
    if process.graph.process.residual is None:
        return outputs
    shares = [schedule[t[: len(x)] + 1] for x, schedule in zip(images, process.schedules, strict=True)]
    return add_inner_predictions(outputs, process.add_noise(images, eps, t), process.graph, shares)


def level_losses(*args: Any, **kwargs: Any) -> dict[str, Tensor]:
    """Return the mean loss over the rows of every level, by label; arguments as :func:`sample_losses`."""
    return {label: each.mean() for label, each in sample_losses(*args, **kwargs).items()}


def total_loss(losses: Mapping[str, Tensor], loss: LossSpec) -> Tensor:
    """Return the weighted sum of the losses, without levels that have a weight of 0 (whose loss may not be finite)."""
    return torch.stack([loss.weight(label) * value for label, value in losses.items() if loss.weight(label)]).sum()
