"""Least memory that a training or a sample takes, from the blocks' rules: nothing is built, nothing allocated.

The numbers are lower bounds. Workspace of libraries, images and text encoders are not counted.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from builders.training.reading.rows import row_kinds
from registry.costs.memory import BYTES, activation_memory
from registry.costs.totals import count
from specs.graph import EntryGraph
from specs.schemas.memory import MemorySpec
from specs.schemas.recipe import Recipe

__all__ = ["PhaseMemory", "fitted_memory", "phase_memory", "sampling_bytes", "with_memory"]


@dataclass(frozen=True, slots=True)
class PhaseMemory:
    """Least memory of one process in a phase, in bytes.

    Attributes:
        phase: Name of the phase.
        state: Weights, EMA, gradients, and the two moments of Adam and its relatives.
        activations: Activations of the rows that are computed at once.
        rows: Rows of the innermost level.
        what: Rows of the innermost level in words: "8 rows", or "2 clips of 16 frames and 6 images".
    """

    phase: str
    state: int
    activations: int
    rows: int
    what: str = ""

    @property
    def total(self) -> int:
        """All of it."""
        return self.state + self.activations

    def rows_within(self, size: int) -> int:
        """Return the largest number of rows that takes at most ``size`` bytes, in the same proportions; 0 if none."""
        return max(0, (size - self.state) * self.rows // max(1, self.activations))


def phase_memory(
    recipe: Recipe, graph: EntryGraph, name: str, *, processes: int = 1, half: bool = False
) -> PhaseMemory:
    """Return the least memory of a phase.

    Args:
        recipe: Recipe with the phase.
        graph: Graph of the recipe's whole entry.
        name: Name of the phase.
        processes: Number of processes that share the rows.
        half: Whether activations have two bytes per number.

    Raises:
        ValueError: The entry has no such level.
    """
    phase = recipe.phases[name]
    trained = graph.inner(phase.train)
    frozen = set(phase.freeze)
    by_label = {level.label: level.total.parameters for level in count(trained).levels}
    everything = sum(by_label.values())
    updated = sum(number for label, number in by_label.items() if label not in frozen)
    moments = 2 if "adam" in recipe.optimizer.name.lower() else 0
    state = BYTES * (2 * everything + (1 + moments) * updated)
    rows = phase.rows(trained.labels)
    memory = recipe.memory_of(phase)
    parts = processes * memory.passes(rows[trained.labels[-1]], processes)
    at_once = {label: -(-rows[label] // parts) for label in trained.labels if label not in frozen}
    chosen = trained.labels if memory.checkpoint == "auto" else memory.checkpoint
    saved = _saved(trained, at_once, chosen)
    what = _words(trained, rows) + (f" in {parts // processes} passes" if parts > processes else "")
    return PhaseMemory(name, state, saved // (2 if half else 1), rows[trained.labels[-1]], what)


def _words(graph: EntryGraph, rows: Mapping[str, int]) -> str:
    """Return what the rows of a batch are."""
    kinds = row_kinds(graph, list(rows.values()))
    if kinds.clip_size is None:
        return f"{kinds.images:,} row{'s' * (kinds.images != 1)}"
    images = f" and {kinds.images:,} image{'s' * (kinds.images != 1)}" if kinds.images else ""
    return f"{kinds.clips:,} clip{'s' * (kinds.clips != 1)} of {kinds.clip_size.frames} frames{images}"


def _saved(graph: EntryGraph, rows: Mapping[str, int], checkpointed: Collection[str]) -> int:
    """Return the bytes of the activations of some rows per level, of which one block at a time is computed again."""
    _, levels = activation_memory(graph)
    total = largest = 0
    for label, number in rows.items():
        memory = levels[label]
        if label in checkpointed:
            total += number * (memory.checkpointed - memory.largest)
            largest = max(largest, number * memory.largest)
        else:
            total += number * memory.training
    return total + largest


def fitted_memory(
    recipe: Recipe, graph: EntryGraph, size: int | None, *, processes: int = 1, half: bool = False
) -> Recipe:
    """Return a recipe in which every phase with ``checkpoint: auto`` names its levels.

    They are as few as make the phase fit, those that save most first; all levels if nothing fits.

    Args:
        recipe: Recipe.
        graph: Graph of the recipe's whole entry.
        size: Memory of the device in bytes; None if it is unknown, for all levels.
        processes: Number of processes that share the rows.
        half: Whether activations have two bytes per number.
    """
    for name, phase in recipe.phases.items():
        if recipe.memory_of(phase).checkpoint != "auto" or phase.train not in graph.labels:
            continue
        trained = graph.inner(phase.train)
        rows, (_, levels) = phase.rows(trained.labels), activation_memory(trained)
        order = sorted(trained.labels, key=lambda label: -rows[label] * levels[label].training)
        for number in range(0 if size is not None else len(order), len(order) + 1):
            changed = with_memory(recipe, name, checkpoint=tuple(order[:number]))
            if size is not None and phase_memory(changed, graph, name, processes=processes, half=half).total <= size:
                break
        recipe = changed
    return recipe


def with_memory(recipe: Recipe, name: str, **changes: Any) -> Recipe:
    """Return a recipe with other memory settings in a phase."""
    phase = recipe.phases[name]
    own = (phase.memory or MemorySpec()).model_dump(exclude_unset=True)
    phase = phase.model_copy(update={"memory": MemorySpec(**(own | changes))})
    return recipe.model_copy(update={"phases": {**recipe.phases, name: phase}})


def sampling_bytes(graph: EntryGraph, rows: int = 1) -> int:
    """Return the least memory of sampling: the weights, and the peak of a forward pass of some rows."""
    memory, _ = activation_memory(graph)
    return BYTES * count(graph).total.parameters + rows * memory.inference
