"""The learning rate schedule."""

from __future__ import annotations

import math

from specs.schemas.recipe import ScheduleSpec

__all__ = ["learning_rate"]


def learning_rate(
    base: float,
    schedule: ScheduleSpec,
    step: int,
    *,
    steps: int | None = None,
    hours: float | None = None,
    seconds: float = 0.0,
) -> float:
    """Return the learning rate of a step: linear warm-up, then constant or half a cosine down to zero.

    The cosine starts at step 0, so that warm-up and decay are multiplied.

    Args:
        base: Learning rate before warm-up and decay.
        schedule: Warm-up in steps, and kind of decay.
        step: Step of the phase, from 0.
        steps: Length of the phase in steps. Warm-up is no longer than that.
        hours: Length of the phase in hours, if it has no ``steps``.
        seconds: Training time of the phase so far.
    """
    warmup = schedule.warmup if steps is None else min(schedule.warmup, steps)
    rate = base * min(1.0, (step + 1) / max(1, warmup))
    if schedule.decay == "cosine":
        done = step / steps if steps is not None else min(1.0, seconds / (3600 * (hours or 1)))
        rate *= 0.5 * (1 + math.cos(math.pi * done))
    return rate
