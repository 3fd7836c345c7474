"""The state of a training run: its progress, and all tensors needed to resume it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class RunProgress:
    """Where a run stands.

    Attributes:
        phase: its name.
        step: steps of it that were taken.
        steps_before: steps of the phases before.
        samples_before: samples that the phases before drew.
        seconds: that this phase has trained for.
        finished: whether the phase is done.
        bad_steps: how many of the last steps made no update, as they were not finite.
    """

    phase: str
    step: int = 0
    steps_before: int = 0
    samples_before: int = 0
    seconds: float = 0.0
    finished: bool = False
    bad_steps: int = 0

    @property
    def steps_done(self) -> int:
        """Steps over all phases."""
        return self.steps_before + self.step

    def next_phase(self, name: str, rows: int) -> RunProgress:
        """The start of the phase after this one, whose batches had so many rows."""
        samples = self.samples_before + self.step * rows
        return RunProgress(name, 0, self.steps_done, samples, bad_steps=self.bad_steps)


@dataclass(frozen=True)
class TrainingState:
    """Where a run stood, and every tensor and fact of it."""

    standing: RunProgress
    tensors: Mapping[str, Tensor]
    facts: Mapping[str, str]

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors under ``prefix/``, without it."""
        start = f"{prefix}/"
        return {name[len(start) :]: value for name, value in self.tensors.items() if name.startswith(start)}
