"""Who is told what happens in training: observers, and the ones that need nothing but files."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image

    from builders.text.encoder import TextEncoder
    from specs.graph import EntryGraph
    from specs.recipe import Recipe

__all__ = ["Observer", "Observers", "RunFacts", "StepReport"]


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What a run is: its recipe, the entry, where it writes, and the step it starts or goes on from."""

    recipe: Recipe
    graph: EntryGraph
    folder: Path
    total_steps: int
    first_step: int
    device: str
    data: Mapping[str, Any]
    #: Of captions, where the entry reads them.
    encoder: TextEncoder | None = None


@dataclass(frozen=True, slots=True)
class StepReport:
    """One step of training; ``step`` counts from 1 over all phases."""

    step: int
    phase: str
    phase_step: int
    losses: Mapping[str, float]
    learning_rate: float
    gradient_norm: float
    seconds: float
    #: A loss or the gradient was not finite, and the weights were not moved.
    skipped: bool = False
    #: Of the seconds, those spent waiting for the batch.
    waited: float = 0.0


class Observer:
    """Told of everything that happens in training; each method may be left as it is."""

    def on_start(self, run: RunFacts) -> None:
        """Training starts or goes on."""

    def on_phase(self, name: str, graph: EntryGraph, steps: int | None, done: int) -> None:
        """A phase starts, or goes on after ``done`` steps; ``steps`` is None for one that goes by hours."""

    def on_step(self, report: StepReport) -> None:
        """A step was taken."""

    def on_monitor(self, step: int, values: Mapping[str, float]) -> None:
        """Means of the last steps: ``gradient_norm/r64``, ``mean_loss/r64``, ``loss_by_noise/r64/0-249``."""

    def on_alarm(self, step: int, message: str) -> None:
        """An outer level seems to collapse; the message says what was seen and what to try."""

    def on_evaluate(self, step: int, losses: Mapping[str, float]) -> None:
        """The held-out v loss of each level was measured on the moving average."""

    def on_grid(self, step: int, phase: str, grid: Image, path: Path) -> None:
        """Samples were drawn and written."""

    def on_checkpoint(self, step: int, path: Path) -> None:
        """The state was written."""

    def on_end(self, status: str) -> None:
        """Training ended: "finished", "interrupted" or "failed"."""


class Observers(Observer):
    """Tells several observers, in order."""

    def __init__(self, members: Sequence[Observer]) -> None:
        self.members = tuple(members)

    def on_start(self, run: RunFacts) -> None:
        for member in self.members:
            member.on_start(run)

    def on_phase(self, name: str, graph: EntryGraph, steps: int | None, done: int) -> None:
        for member in self.members:
            member.on_phase(name, graph, steps, done)

    def on_step(self, report: StepReport) -> None:
        for member in self.members:
            member.on_step(report)

    def on_monitor(self, step: int, values: Mapping[str, float]) -> None:
        for member in self.members:
            member.on_monitor(step, values)

    def on_alarm(self, step: int, message: str) -> None:
        for member in self.members:
            member.on_alarm(step, message)

    def on_evaluate(self, step: int, losses: Mapping[str, float]) -> None:
        for member in self.members:
            member.on_evaluate(step, losses)

    def on_grid(self, step: int, phase: str, grid: Image, path: Path) -> None:
        for member in self.members:
            member.on_grid(step, phase, grid, path)

    def on_checkpoint(self, step: int, path: Path) -> None:
        for member in self.members:
            member.on_checkpoint(step, path)

    def on_end(self, status: str) -> None:
        # Every one is told, whatever happens to another: a run in MLflow must not stay as if it were running.
        with contextlib.ExitStack() as told:
            for member in reversed(self.members):
                told.callback(member.on_end, status)
