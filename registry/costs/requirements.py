"""Memory that a training or a sample takes, from the blocks' rules: nothing is built, nothing allocated.

Workspace of libraries, fragmentation of the allocator and text encoders are not counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from builders.training.reading.rows import row_kinds
from registry.costs.memory import BYTES, activation_memory
from registry.costs.steps import StepCosts, step_costs
from registry.costs.totals import count
from specs.graph import EntryGraph
from specs.schemas.memory import MemorySpec
from specs.schemas.optimizers import state_copies
from specs.schemas.recipe import PhaseSpec, Recipe

__all__ = [
    "PhaseMemory", "fitted_memory", "phase_costs", "phase_memory", "rows_at_once", "sampling_bytes", "with_memory",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class PhaseMemory:
    """Memory of one process in a phase, in bytes.

    Attributes:
        phase: Name of the phase.
        weights: Weights in float32; with sharding, this process's part and the largest block whole.
        ema: Their moving averages.
        gradients: Gradients of the trained levels; with sharding, this process's part and the largest block whole.
        optimizer: State of the optimizer, such as the two moments of Adam.
        copies: Copies of the weights in low precision, which autocast makes and holds.
        activations: Activations of the rows that are computed at once, in the precision in which they are saved.
        buffers: Clean images and noise of the batch, and gradients of feature maps in the backward pass.
        buckets: Buckets in which several processes average the gradients; none with sharding.
        recomputed: Activations that the largest checkpointed block computes again.
        passes: Passes over a batch; from the second one on, gradients are there during the forward pass.
        rows: Rows of the innermost level.
        what: Rows of the innermost level in words: "8 rows", or "2 clips of 16 frames and 6 images".
    """

    phase: str
    weights: int
    ema: int
    gradients: int
    optimizer: int
    copies: int
    activations: int
    buffers: int
    buckets: int
    recomputed: int
    passes: int
    rows: int
    what: str = ""

    @property
    def state(self) -> int:
        """Weights, EMA, gradients and optimizer state."""
        return self.weights + self.ema + self.gradients + self.optimizer + self.buckets

    @property
    def total(self) -> int:
        """The sum of all parts, which are not all there at the same time."""
        return self.state + self.copies + self.activations + self.buffers

    @property
    def peak(self) -> int:
        """The most that is there at the same time.

        In a single pass, gradients of weights take the place of activations as the backward pass frees these.
        """
        forward = self.copies + self.activations + self.buffers
        if self.passes > 1:
            return self.state + forward
        return self.state - self.gradients + max(forward, self.gradients + self.recomputed + self.buffers)

    def rows_within(self, size: int) -> int:
        """Return the most rows whose peak is at most ``size`` bytes, in the same proportions; 0 if none."""
        forward, backward = self.activations + self.buffers, self.recomputed + self.buffers
        before = self.state - (self.gradients if self.passes == 1 else 0) + self.copies
        fits = min((size - before) * self.rows // max(1, forward), (size - self.state) * self.rows // max(1, backward))
        return max(0, fits)


def phase_memory(
    recipe: Recipe, graph: EntryGraph, name: str, *, processes: int = 1, half: bool = False, gpu: bool = False
) -> PhaseMemory:
    """Return the memory of one process in a phase.

    Args:
        recipe: Recipe with the phase.
        graph: Graph of the recipe's whole entry.
        name: Name of the phase.
        processes: Number of processes that share the rows.
        half: Whether the network runs under autocast in bfloat16 or float16.
        gpu: Whether it runs on a GPU, where autocast keeps norms in float32.

    Raises:
        ValueError: The entry has no such level.
    """
    phase = recipe.phases[name]
    trained = graph.inner(phase.train)
    rows = phase.rows(trained.labels)
    memory = recipe.memory_of(phase)
    at_once, passes = rows_at_once(recipe, graph, phase, processes)
    costs = phase_costs(recipe, graph, phase, half=half, gpu=gpu)
    own = {label: -(-number // processes) for label, number in rows.items()}
    images = 2 * BYTES * sum(own[level.label] * level.channels * level.size.positions for level in trained.levels)
    copies = costs.copies_held
    weights, ema, gradients, optimizer = _state(recipe, trained, phase, processes if memory.shard else 1)
    return PhaseMemory(
        name, weights, ema, gradients, optimizer, copies, costs.activations(at_once) - copies,
        images + costs.workspace(at_once), 0 if memory.shard or processes == 1 else gradients,
        costs.recomputed_bytes(at_once), passes, rows[trained.labels[-1]],
        _words(trained, rows) + (f" in {passes} passes" if passes > 1 else ""),
    )  # fmt: skip


def phase_costs(
    recipe: Recipe, graph: EntryGraph, phase: PhaseSpec, *, half: bool = False, gpu: bool = False
) -> StepCosts:
    """Return the costs of a training step of a phase by level, for one row of each.

    Args:
        recipe: Recipe with the phase.
        graph: Graph of the recipe's whole entry.
        phase: The phase.
        half: Whether the network runs under autocast in bfloat16 or float16.
        gpu: Whether it runs on a GPU.
    """
    trained, chosen, loss = graph.inner(phase.train), recipe.memory_of(phase).checkpoint, recipe.loss_of(phase)
    labels = trained.labels if chosen == "auto" else [label for label in chosen if label in trained.labels]
    without = frozenset(label for label in trained.labels if not loss.weight(label))
    return step_costs(
        trained,
        frozen=frozenset(phase.freeze),
        checkpointed=frozenset(labels),
        without_loss=without,
        half=half,
        gpu=gpu,
    )


def rows_at_once(recipe: Recipe, graph: EntryGraph, phase: PhaseSpec, processes: int = 1) -> tuple[dict[str, int], int]:
    """Return the rows of each level that a process computes at once, and the number of its passes over a batch."""
    rows = phase.rows(graph.inner(phase.train).labels)
    innermost = list(rows.values())[-1]
    passes = recipe.memory_of(phase).passes(innermost, processes)
    return {label: -(-number // (processes * passes)) for label, number in rows.items()}, passes


def _state(recipe: Recipe, trained: EntryGraph, phase: PhaseSpec, parts: int) -> tuple[int, int, int, int]:
    """Return the bytes of weights, EMA, gradients and optimizer state of one of ``parts`` processes that share them."""
    levels = count(trained).levels
    frozen = set(phase.freeze)
    everything = sum(level.total.parameters for level in levels)
    updated = sum(level.total.parameters for level in levels if level.label not in frozen)
    copies = state_copies(recipe.optimizer.name, recipe.optimizer.options)
    whole = largest = 0
    if parts > 1:  # one block at a time is whole
        whole = max(part.costs.parameters for level in levels for part in level.parts)
        largest = max(
            (part.costs.parameters for level in levels if level.label not in frozen for part in level.parts), default=0
        )

    def share(number: float) -> int:
        return BYTES * -(-int(number) // parts)

    weights, gradients = share(everything) + BYTES * whole, share(updated) + BYTES * largest
    averages = 1 + (len(recipe.averages.lengths) if recipe.averages else 0)
    return weights, averages * share(everything), gradients, share(copies * updated)


def _words(graph: EntryGraph, rows: Mapping[str, int]) -> str:
    """Return what the rows of a batch are."""
    kinds = row_kinds(graph, list(rows.values()))
    if kinds.clip_size is None:
        return f"{kinds.images:,} row{'s' * (kinds.images != 1)}"
    images = f" and {kinds.images:,} image{'s' * (kinds.images != 1)}" if kinds.images else ""
    return f"{kinds.clips:,} clip{'s' * (kinds.clips != 1)} of {kinds.clip_size.frames} frames{images}"


def fitted_memory(
    recipe: Recipe, graph: EntryGraph, size: int | None, *, processes: int = 1, half: bool = False, gpu: bool = False
) -> Recipe:
    """Return a recipe in which every phase with ``checkpoint: auto`` names its levels.

    They are as few as make the phase fit, those that save most first; all levels if nothing fits.

    Args:
        recipe: Recipe.
        graph: Graph of the recipe's whole entry.
        size: Memory of the device in bytes; None if it is unknown, for all levels.
        processes: Number of processes that share the rows.
        half: Whether the network runs under autocast in bfloat16 or float16.
        gpu: Whether it runs on a GPU.
    """
    shared: dict[str, Any] = {"processes": processes, "half": half, "gpu": gpu}
    for name, phase in recipe.phases.items():
        if recipe.memory_of(phase).checkpoint != "auto" or phase.train not in graph.labels:
            continue
        trained = graph.inner(phase.train)
        rows, (_, levels) = phase.rows(trained.labels), activation_memory(trained)
        order = sorted(trained.labels, key=lambda label: -rows[label] * levels[label].training)
        for number in range(0 if size is not None else len(order), len(order) + 1):
            changed = with_memory(recipe, name, checkpoint=tuple(order[:number]))
            if size is not None and phase_memory(changed, graph, name, **shared).peak <= size:
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
