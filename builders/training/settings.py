"""Settings of a phase, resolved once from the recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from builders.training.errors import TrainingError
from builders.training.learning_rate import learning_rate
from builders.training.reading.rows import RowKinds, row_kinds
from builders.training.reading.sources import Needs, needs_of
from specs.graph import EntryGraph
from specs.printable import printable
from specs.schemas.memory import MemorySpec
from specs.schemas.recipe import CarrySpec, LossSpec, Recipe, ScheduleSpec
from specs.schemas.times import TimesSpec

__all__ = ["PhaseSettings", "phase_settings"]


@dataclass(frozen=True)
class PhaseSettings:
    """Everything a phase needs from its recipe.

    Attributes:
        name: Name of the phase.
        graph: Level that is trained, with all levels inside it.
        rows: Rows of a batch per level, outermost first.
        steps: Length in steps, or None.
        hours: Length in hours, or None.
        source: Where the weights come from: "before" (the previous phase), "fresh", a weights file, or an entry.
        carry: What is taken from the previous phase besides the weights.
        freeze: Labels of the levels that are not trained.
        cut: Labels of the levels that share no features with the level around them.
        learning_rate: Learning rate before warm-up and decay.
        rate_factors: Factors of the learning rate by label; levels that are not there have 1.
        schedule: Warm-up and decay.
        loss: Space, weighting and weights per level of the loss.
        times: Distribution of the noise times.
        memory: Levels to checkpoint, and rows to compute at once.
        compile: Whether blocks are compiled.
        channels_last: Whether convolutions compute with channels last in memory.
        recipe: The recipe, for the settings that all phases share.
    """

    name: str
    graph: EntryGraph
    rows: tuple[int, ...]
    steps: int | None
    hours: float | None
    source: str
    carry: CarrySpec
    freeze: tuple[str, ...]
    cut: tuple[str, ...]
    learning_rate: float
    rate_factors: Mapping[str, float]
    schedule: ScheduleSpec
    loss: LossSpec
    times: TimesSpec
    memory: MemorySpec
    compile: bool
    channels_last: bool
    recipe: Recipe

    @property
    def kinds(self) -> RowKinds:
        """Which rows of a batch are clips, and which are images."""
        return row_kinds(self.graph, self.rows)

    @property
    def apart(self) -> bool:
        """Whether images are drawn from a dataset of their own."""
        return self.recipe.images is not None

    @property
    def needs(self) -> Needs:
        """The data that the phase reads."""
        return needs_of(self.kinds, apart=self.apart)

    @property
    def samples_per_step(self) -> tuple[int, int]:
        """Samples that a step draws from ``data``, and from ``images``."""
        return (self.kinds.clips, self.kinds.images) if self.apart else (self.kinds.total, 0)

    @property
    def labels_with_loss(self) -> tuple[str, ...]:
        """Labels of the levels whose loss has a weight."""
        return tuple(label for label in self.graph.labels if self.loss.weight(label))

    @property
    def checkpointed(self) -> tuple[str, ...]:
        """Labels of the levels whose blocks are checkpointed; all of them for "auto" that nobody has decided."""
        chosen = self.memory.checkpoint
        return tuple(label for label in self.graph.labels if chosen == "auto" or label in chosen)

    def passes(self, processes: int) -> int:
        """Return the number of passes in which each process computes its rows of a batch."""
        return self.memory.passes(self.rows[-1], processes)

    def learning_rate_at(self, step: int, seconds: float) -> float:
        """Return the learning rate of a step.

        Args:
            step: Step of the phase, from 0.
            seconds: Training time of the phase so far.
        """
        return learning_rate(
            self.learning_rate, self.schedule, step, steps=self.steps, hours=self.hours, seconds=seconds
        )

    def is_last(self, step: int, seconds: float) -> bool:
        """Return whether the phase ends with a step, from 0, after that many seconds."""
        return step + 1 == self.steps if self.hours is None else seconds >= 3600 * self.hours


def phase_settings(recipe: Recipe, graph: EntryGraph, name: str) -> PhaseSettings:
    """Resolve the settings of a phase.

    Args:
        recipe: Recipe with the phase.
        graph: Graph of the recipe's whole entry.
        name: Name of the phase.

    Raises:
        TrainingError: The entry has no such level, or the batch names a level that is not trained.
    """
    phase, whole = recipe.phases[name], graph
    try:
        graph = graph.inner(phase.train)
        if not isinstance(phase.batch, int) and not set(phase.batch) <= set(graph.labels):
            raise ValueError(f"'batch' may name only the levels {', '.join(graph.labels)}")
    except ValueError as error:
        raise TrainingError(f"recipe {recipe.name}, phase {printable(name)}: {error}") from None
    return PhaseSettings(
        name=name,
        graph=graph,
        rows=tuple(phase.rows(graph.labels).values()),
        steps=phase.steps,
        hours=phase.hours,
        source=recipe.source_of(name),
        carry=recipe.carry_of(phase),
        freeze=phase.freeze,
        cut=phase.cut,
        learning_rate=phase.learning_rate or recipe.optimizer.learning_rate,
        rate_factors=_restarted(recipe, whole, name) | recipe.rates_of(phase),
        schedule=recipe.schedule_of(phase),
        loss=recipe.loss_of(phase),
        times=recipe.times_of(phase),
        memory=recipe.memory_of(phase),
        compile=recipe.compile,
        channels_last=recipe.channels_last,
        recipe=recipe,
    )


def _restarted(recipe: Recipe, graph: EntryGraph, name: str) -> dict[str, float]:
    """Return the factor of the learning rate of every level that an earlier phase has trained, by label.

    Args:
        recipe: Recipe of the run.
        graph: Graph of the recipe's whole entry.
        name: Name of the phase.
    """
    trained: set[str] = set()
    factor = recipe.schedule_of(recipe.phases[name]).restart
    for before, phase in recipe.phases.items():
        if recipe.source_of(before) != "before":
            trained = set()
        if before == name:
            break
        trained |= set(graph.inner(phase.train).labels) - set(phase.freeze)
    return dict.fromkeys(sorted(trained), factor) if factor != 1 else {}
