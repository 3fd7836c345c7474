"""The state of a training run: its progress, and all tensors needed to resume it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from builders.training.reading.noise import KINDS
from builders.training.sharding.states import ShardFolder

#: What runs of earlier versions do, whose states do not say it.
EARLIER: dict[str, Any] = {"noise": "batch", "reduced": False}


@dataclass(frozen=True)
class RunProgress:
    """Progress of a run.

    Attributes:
        phase: Name of the current phase.
        step: Completed steps of this phase.
        steps_before: Steps of all earlier phases.
        samples_before: Samples of ``data`` drawn by all earlier phases.
        seconds: Training time of this phase, if it is limited by hours.
        finished: Whether this phase is complete.
        bad_steps: Number of steps without an update since the last good one, because a value was not finite.
        images_before: Samples of ``images`` drawn by all earlier phases; 0 if the recipe has none.
        noise: Source of the random numbers of batches, see :class:`builders.training.batches.BatchPlan`.
        reduced: Whether large JPEG images are decoded at a smaller size, as in all runs but those of earlier versions.
    """

    phase: str
    step: int = 0
    steps_before: int = 0
    samples_before: int = 0
    seconds: float = 0.0
    finished: bool = False
    bad_steps: int = 0
    images_before: int = 0
    noise: str = "rows"
    reduced: bool = True

    @property
    def steps_done(self) -> int:
        """Completed steps of all phases."""
        return self.steps_before + self.step

    @classmethod
    def first(cls, phase: str, *, paired: bool = False) -> RunProgress:
        """Return the progress at the start of a run.

        Args:
            phase: Name of the first phase.
            paired: Whether the noise of a level does not depend on other levels.
        """
        return cls(phase, noise="levels" if paired else "rows")

    def next_phase(self, name: str, rows: int, images: int = 0) -> RunProgress:
        """Return the progress at the start of the next phase.

        Args:
            name: Name of the next phase.
            rows: Samples of ``data`` per step of this phase.
            images: Samples of ``images`` per step of this phase.
        """
        samples, images = self.samples_before + self.step * rows, self.images_before + self.step * images
        return RunProgress(
            name, 0, self.steps_done, samples, bad_steps=self.bad_steps, images_before=images,
            noise=self.noise, reduced=self.reduced,
        )  # fmt: skip

    def facts(self) -> dict[str, Any]:
        """Return the progress as plain data, without what runs on images alone, or of earlier versions, lack."""
        lacking = {"images_before": 0, **EARLIER}
        return {name: value for name, value in asdict(self).items() if name not in lacking or value != lacking[name]}

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> RunProgress:
        """Return the progress that :meth:`facts` describes.

        Raises:
            TypeError: It has facts that this version does not know.
        """
        found = cls(**{**EARLIER, **facts})
        if found.noise not in KINDS:
            raise TypeError(f"noise is {found.noise!r}")
        return found


@dataclass(frozen=True)
class TrainingState:
    """A saved state: progress, tensors and facts as text.

    Attributes:
        progress: Progress of the run.
        tensors: Tensors by name, without those in shards.
        facts: Facts as text.
        shards: Folder with the tensors of a sharded training, or None.
    """

    progress: RunProgress
    tensors: Mapping[str, Tensor]
    facts: Mapping[str, str]
    shards: ShardFolder | None = None

    def part(self, prefix: str, placed: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """Return the tensors under ``prefix/``, without the prefix.

        Args:
            prefix: First part of the names.
            placed: Parameters by name. What is read from shards is divided among processes as they are.

        Raises:
            CheckpointError: The shards cannot be read.
        """
        start = f"{prefix}/"
        if self.shards is not None and not any(name.startswith(start) for name in self.tensors):
            return self.shards.read(prefix, placed or {})
        return {name[len(start) :]: value for name, value in self.tensors.items() if name.startswith(start)}
