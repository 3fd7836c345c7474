"""The largest learning rate at which training is stable."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch

from builders.data.images import Images
from builders.text.encoder import TextEncoder
from builders.training.distributed import Processes
from builders.training.phase import Phase
from builders.training.settings import phase_settings
from specs.graph import EntryGraph
from specs.schemas.recipe import Recipe, ScheduleSpec

__all__ = ["is_stable", "largest_stable", "short_losses"]

#: Share of the steps, at the end, whose mean loss decides.
END = 0.25
#: Largest mean loss at the end, relative to that of the first step, in which the network predicts zeros.
PROGRESS = 0.9


def is_stable(losses: Sequence[float], steps: int) -> bool:
    """Return whether a short run was stable: it took all steps, and learned more than to predict zeros.

    A fresh network predicts zeros, so its first loss is that of having learned nothing. Runs that diverge end at this
    loss or above it, since clipping and Adam bound their steps.

    Args:
        losses: Loss of each step that was taken.
        steps: Number of steps that the run should have.
    """
    if len(losses) < steps or not all(map(math.isfinite, losses)):
        return False
    end = losses[-max(1, round(END * steps)) :]
    return sum(end) / len(end) < PROGRESS * losses[0]


def largest_stable(rates: Sequence[float], stable: Callable[[float], bool]) -> float | None:
    """Return the largest rate at which training is stable, by bisection; None if it is not stable at any.

    Training is taken to be stable at every rate below a stable one. N rates take log2(N + 1) runs, rounded up.

    Args:
        rates: Rates in ascending order.
        stable: Function that trains at a rate and returns whether this was stable.

    Raises:
        ValueError: The rates are not ascending.
    """
    if not rates or any(one >= other for one, other in pairwise(rates)):
        raise ValueError(f"rates must ascend: {', '.join(f'{rate:g}' for rate in rates)}")
    low, high = 0, len(rates)  # rates before ``low`` are stable, those from ``high`` are not
    while low < high:
        middle = (low + high) // 2
        if stable(rates[middle]):
            low = middle + 1
        else:
            high = middle
    return rates[low - 1] if low else None


def short_losses(
    recipe: Recipe,
    graph: EntryGraph,
    data: Images,
    rate: float,
    steps: int,
    *,
    warmup: int = 0,
    device: torch.device | str = "cpu",
    encoder: TextEncoder | None = None,
) -> list[float]:
    """Train the last phase of a recipe from fresh weights for a few steps at a constant rate.

    Args:
        recipe: Recipe. Its rates by level are multiples of ``rate``.
        graph: Graph of its entry.
        data: Training images at the side of the level that the phase trains.
        rate: Learning rate.
        steps: Number of steps.
        warmup: Steps of linear warm-up.
        device: Device of the network.
        encoder: Text encoder, for an entry that reads text.

    Returns:
        Loss of the outermost level at each step; training ends after a step that is not finite.
    """
    name, last = list(recipe.phases.items())[-1]
    schedule = ScheduleSpec(warmup=warmup, decay="constant")
    changes = {"learning_rate": rate, "schedule": schedule, "steps": steps, "hours": None, "initialise": "fresh"}
    recipe = recipe.model_copy(update={"phases": {name: last.model_copy(update=changes)}})
    phase = Phase(phase_settings(recipe, graph, name), Processes(device))
    losses = []
    for step in range(steps):
        result = phase.step(step, phase.plan.draw(step, data), encoder=encoder)
        losses.append(result.numbers.losses[phase.settings.graph.labels[0]])
        if not result.updated:
            break
    return losses
