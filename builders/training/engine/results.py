"""Numbers of training steps. On a GPU they are read while the next step runs, so that it need not wait."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Numbers", "Reduced", "StartedStep", "StepResult", "late_steps"]


def late_steps(device: torch.device) -> int:
    """Return how many steps may start before the numbers of a step are read: 1 on a GPU, else 0."""
    return 1 if device.type == "cuda" else 0


class Reduced(NamedTuple):
    """Numbers of one step, over all processes.

    Attributes:
        losses: Loss per level.
        gradient_norm: Norm of the gradient before clipping.
        stop: Whether any process was asked to stop.
        seconds: Training time of the phase, by the clock of the main process.
    """

    losses: dict[str, float]
    gradient_norm: float
    stop: bool
    seconds: float

    @property
    def losses_are_finite(self) -> bool:
        """Whether the loss of every level is finite."""
        return all(math.isfinite(loss) for loss in self.losses.values())

    @property
    def are_finite(self) -> bool:
        """Whether all losses and the gradient are finite."""
        return self.losses_are_finite and math.isfinite(self.gradient_norm)


class Numbers:
    """Numbers of one step, on their way from the device.

    Args:
        labels: Labels of the levels.
        values: Losses of the levels, norm of the gradient, count of processes asked to stop, and clock, as one vector.
    """

    def __init__(self, labels: Sequence[str], values: Tensor) -> None:
        self.labels = tuple(labels)
        self._values, self._copied = values, None
        if values.is_cuda:
            self._values = values.to("cpu", non_blocking=True)  # into pinned memory
            self._copied = torch.cuda.Event(blocking=True)
            self._copied.record()

    @cached_property
    def read(self) -> Reduced:
        """The numbers. Waits for the step, and not for those started after it."""
        if self._copied is not None:
            self._copied.synchronize()
        *losses, norm, stops, clock = self._values.tolist()
        return Reduced(dict(zip(self.labels, losses, strict=True)), norm, stops > 0, clock)


@dataclass(frozen=True)
class StepResult:
    """Result of one step: numbers over all processes, and what this process measured.

    Attributes:
        numbers: Losses, gradient norm, stop flag and clock.
        learning_rate: Learning rate of the step.
        updated: Whether the weights were updated; False if a loss or the gradient was not finite.
        rescaled: Whether only the gradient was not finite, and the float16 gradient scaler lowered its scale.
        t: Time indices, (rows of the innermost level,).
        row_losses: Loss of every row, (rows,), by level.
        level_norms: Norm of the gradient by level, without levels that have none.
    """

    numbers: Reduced
    learning_rate: float
    updated: bool
    rescaled: bool
    t: Tensor
    row_losses: Mapping[str, Tensor]
    level_norms: Mapping[str, Tensor]


@dataclass(frozen=True)
class StartedStep:
    """A step that the device may still be computing; attributes as those of :class:`StepResult`."""

    numbers: Numbers
    learning_rate: float
    rescaled: bool
    t: Tensor
    row_losses: Mapping[str, Tensor]
    level_norms: Mapping[str, Tensor]

    def result(self) -> StepResult:
        """Wait for the step, and return its result."""
        found = self.numbers.read
        return StepResult(
            found, self.learning_rate, found.are_finite, self.rescaled, self.t, self.row_losses, self.level_norms
        )
