"""Observers of training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partialmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builders.training.errors import TrainingWarning, warn

if TYPE_CHECKING:
    from PIL.Image import Image

    from builders.text.encoder import TextEncoder
    from builders.training.distributed import Processes
    from specs.graph import EntryGraph
    from specs.recipe import Recipe

__all__ = ["Observer", "Observers", "RunInfo", "StepReport"]


@dataclass(frozen=True, slots=True)
class RunInfo:
    """A run at its start.

    Attributes:
        recipe: Recipe of the run.
        graph: Graph of the whole entry.
        folder: Folder of the run.
        total_steps: Steps of all phases. Phases that are limited by hours count as 0.
        first_step: Steps done before, if the run is resumed.
        device: Device, such as "cuda:0".
        data: Name and license of the data, and name of the images if the recipe has ``images``.
        encoder: Text encoder, if the entry reads text.
        finished: Whether the run was finished before, so that nothing is trained.
        precision: Precision of activations, of losses of the validation split and of samples in grids too.
    """

    recipe: Recipe
    graph: EntryGraph
    folder: Path
    total_steps: int
    first_step: int
    device: str
    data: Mapping[str, Any]
    encoder: TextEncoder | None = None
    finished: bool = False
    precision: str = "float32"


@dataclass(frozen=True, slots=True)
class StepReport:
    """One training step.

    Attributes:
        step: Step over all phases, from 1.
        phase: Name of the phase.
        phase_step: Step of the phase, from 1.
        losses: Loss per level.
        learning_rate: Learning rate of the step.
        gradient_norm: Norm of the gradient before clipping.
        seconds: Duration of the step.
        skipped: Whether the update was skipped because a loss or the gradient was not finite.
        waited: Seconds spent waiting for the batch, part of ``seconds``.
    """

    step: int
    phase: str
    phase_step: int
    losses: Mapping[str, float]
    learning_rate: float
    gradient_norm: float
    seconds: float
    skipped: bool = False
    waited: float = 0.0


class Observer:
    """Base class of observers, whose methods do nothing."""

    def on_processes(self, processes: Processes) -> bool:
        """Return whether to call this observer in this process. Default: in the main process alone.

        Called first, in every process. An observer that measures with all processes keeps them and returns True.
        """
        return processes.main

    def on_start(self, run: RunInfo) -> None:
        """Training starts or resumes."""

    def on_phase(self, name: str, graph: EntryGraph, steps: int | None, done: int) -> None:
        """A phase starts, or resumes after ``done`` steps. ``steps`` is None if it is limited by hours."""

    def on_step(self, report: StepReport) -> None:
        """A step was completed."""

    def on_monitor(self, step: int, values: Mapping[str, float]) -> None:
        """Means of the last steps: ``gradient_norm/r64``, ``mean_loss/r64``, ``loss_by_noise/r64/0-249``."""

    def on_alarm(self, step: int, message: str) -> None:
        """An outer level seems to collapse. The message says what was measured and what to try."""

    def on_evaluate(self, step: int, losses: Mapping[str, float]) -> None:
        """The validation v loss of each level was measured with the EMA weights."""

    def on_errors(self, step: int, errors: Mapping[str, float]) -> None:
        """Errors of the clean prediction were measured at fixed log-SNRs, by level and ratio: ``r64/-5``, ``r64/6``."""

    def on_distance(self, step: int, distances: Mapping[str, float]) -> None:
        """Samples were compared with the data: values by metric and level, ``kid_efficientnet_lite0/r64``."""

    def on_grid(self, step: int, phase: str, grid: Image, path: Path) -> None:
        """Samples were drawn and written; for clips once for the contact sheet and once for the animated WebP."""

    def on_checkpoint(self, step: int, path: Path) -> None:
        """The state was written."""

    def on_end(self, status: str) -> None:
        """Training ended: "finished", "interrupted" or "failed"."""


class Observers(Observer):
    """Several observers, called in order. After the start, one that fails is reported and does not end training."""

    def __init__(self, members: Sequence[Observer]) -> None:
        self.members = tuple(members)
        self._reported: set[tuple[int, str]] = set()

    def on_processes(self, processes: Processes) -> bool:
        self.members = tuple(member for member in self.members if member.on_processes(processes))
        return bool(self.members)

    def on_start(self, run: RunInfo) -> None:
        # Nothing is lost yet, so an error ends training: features or folders that are missing are reported now.
        for member in self.members:
            member.on_start(run)

    def _call(self, method: str, *arguments: Any) -> None:
        for index, member in enumerate(self.members):
            try:
                getattr(member, method)(*arguments)
            except TrainingWarning:  # warnings are errors here
                raise
            except Exception as error:
                self._report(index, method, error)

    def _report(self, index: int, method: str, error: Exception) -> None:
        """Warn about the failure of a member, once for each of its methods."""
        if (index, method) in self._reported:
            return
        self._reported.add((index, method))
        name = type(self.members[index]).__name__
        warn(f"{name}.{method} failed ({describe(error)})")

    on_phase: Any = partialmethod(_call, "on_phase")
    on_step: Any = partialmethod(_call, "on_step")
    on_monitor: Any = partialmethod(_call, "on_monitor")
    on_alarm: Any = partialmethod(_call, "on_alarm")
    on_evaluate: Any = partialmethod(_call, "on_evaluate")
    on_errors: Any = partialmethod(_call, "on_errors")
    on_distance: Any = partialmethod(_call, "on_distance")
    on_grid: Any = partialmethod(_call, "on_grid")
    on_checkpoint: Any = partialmethod(_call, "on_checkpoint")
    # All are called, in the end too: a run in MLflow must not stay marked as running.
    on_end: Any = partialmethod(_call, "on_end")


def describe(error: Exception) -> str:
    """Return the first line of an error's message, with its type unless it is one of ours."""
    text = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
    ours = type(error).__module__.partition(".")[0] in ("specs", "builders", "registry", "zoo")
    return text if ours or isinstance(error, OSError) else f"{type(error).__name__}: {text}"
