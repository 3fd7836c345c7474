"""Gradients at the saved states of a run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from builders.checkpoints.shipped import file_facts
from builders.checkpoints.tensor_file import CheckpointError, read_tensors
from builders.data.images import Images
from builders.measures.gradients import GradientFacts, gradient_facts
from builders.text.encoder import TextEncoder
from builders.training.batches import Batch
from builders.training.distributed import Processes
from builders.training.phase import Phase
from builders.training.retention import states
from builders.training.settings import phase_settings
from builders.training.state import RunProgress, TrainingState
from specs.graph import EntryGraph
from specs.schemas.recipe import Recipe

__all__ = ["SavedState", "evenly_spread_states", "gradients_at"]


@dataclass(frozen=True, slots=True)
class SavedState:
    """A state of a run.

    Attributes:
        path: Its file.
        progress: Phase and step.
    """

    path: Path
    progress: RunProgress


def evenly_spread_states(folder: Path, count: int) -> list[SavedState]:
    """Return states of a run nearest to 1/N, 2/N, ... of its steps, N being their number, and its last state.

    Args:
        folder: Folder of the run.
        count: Number of states.

    Raises:
        CheckpointError: There are fewer states, or one is damaged.
    """
    found = {state.progress.steps_done: state for state in map(_state, [*states(folder), folder / "state.safetensors"])}
    if len(found) < count:
        raise CheckpointError(
            f"{folder}: holds {len(found)} states, fewer than the {count} at which gradients are measured; set "
            "checkpoints.every and every.checkpoint of the recipe to a lower number of steps, and train again"
        )
    last, left, chosen = max(found), sorted(found), list[SavedState]()
    for place in range(count, 0, -1):  # from the last one, so that enough are left for the others
        allowed = left[place - 1 :]
        step = min(allowed, key=lambda step: abs(step - last * place / count))
        chosen.append(found[step])
        left = left[: left.index(step)]
    return chosen[::-1]


def _state(path: Path) -> SavedState:
    facts = file_facts(path)
    if facts.get("kind") != "state" or "standing" not in facts:
        raise CheckpointError(f"{path}: not the state of a run")
    return SavedState(path, RunProgress.from_facts(json.loads(facts["standing"])))


def gradients_at(
    state: SavedState,
    recipe: Recipe,
    graph: EntryGraph,
    data: Images,
    batches: int,
    *,
    device: torch.device | str = "cpu",
    encoder: TextEncoder | None = None,
) -> GradientFacts:
    """Return what the gradients of a state say, with the weights that are trained, not their average.

    Images, times and noise of the batches depend on the seed of the recipe, and are the same at all states.

    Args:
        state: State of a run on one process.
        recipe: Recipe of the run.
        graph: Graph of its entry.
        data: Training images at the side of the level that the state's phase trains.
        batches: Number of batches, each with the rows of the phase.
        device: Device of the network.
        encoder: Text encoder, for an entry that reads text.

    Raises:
        CheckpointError: The state is damaged, or of a sharded training.
    """
    tensors, facts = read_tensors(state.path)
    whole = TrainingState(state.progress, tensors, facts)
    weights = whole.part("model")
    if not weights:
        raise CheckpointError(f"{state.path}: its weights are in shards; gradients need a run without memory.shard")
    phase = Phase(phase_settings(recipe, graph, state.progress.phase), Processes(device), state.progress)
    phase.model.load_state_dict(weights)
    plan = replace(phase.plan, name="gradients", first_sample=0)

    def drawn() -> Iterator[Batch]:
        for step in range(batches):
            yield plan.draw(step, data).to(phase.processes.device)

    def losses(batch: Batch) -> dict[str, Tensor]:
        return phase.forward(batch, encoder)

    return gradient_facts(phase.model, drawn(), losses, phase.settings.loss, seed=recipe.seed)
