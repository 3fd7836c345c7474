"""The changes with which a training fits into the memory of a device."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from registry.costs.device import PlannedDevice
from registry.costs.memory import activation_memory
from registry.costs.requirements import fitted_memory, phase_memory, with_memory
from specs.graph import EntryGraph
from specs.schemas.recipe import Recipe
from specs.syntax.overrides import set_option

__all__ = ["Fitted", "decided_for", "fitted_recipe"]


@dataclass(frozen=True, slots=True)
class Fitted:
    """A recipe that fits.

    Attributes:
        recipe: The recipe with all changes.
        options: The changes as options of the command line.
    """

    recipe: Recipe
    options: tuple[str, ...]


def decided_for(recipe: Recipe, graph: EntryGraph, device: PlannedDevice, processes: int) -> Recipe:
    """Return a recipe in which ``memory.checkpoint: auto`` names the levels that the device needs."""
    half = device.precision_of(recipe, graph) != "float32"
    return fitted_memory(recipe, graph, device.memory, processes=processes, half=half, gpu=device.gpu)


def fitted_recipe(recipe: Recipe, graph: EntryGraph, device: PlannedDevice, processes: int) -> Fitted | None:
    """Return a recipe with the first changes with which every phase fits, or None if none does.

    Each phase gets its own changes, the first of these that suffice: passes of fewer rows; checkpointed levels; both.
    If a phase needs more, precision bfloat16 is added for the whole recipe, and after that sharding over processes.

    Args:
        recipe: Recipe.
        graph: Graph of the recipe's whole entry.
        device: Device.
        processes: Number of devices, each with a process of its own.
    """
    for changed, shard in _settings(recipe, graph, device, processes):
        found = _fitted(changed, graph, device, processes, shard=shard)
        if found is not None:
            precision = () if changed.precision == recipe.precision else (f"--set precision={changed.precision}",)
            return Fitted(found.recipe, (*precision, *found.options))
    return None


def _settings(
    recipe: Recipe, graph: EntryGraph, device: PlannedDevice, processes: int
) -> Iterator[tuple[Recipe, bool]]:
    """Yield the recipe in its own precision, in bfloat16, and both with sharding."""
    recipes = [recipe]
    if device.precision_of(recipe, graph) == "float32" and device.rate("bfloat16") is not None:
        recipes.append(recipe.model_copy(update={"precision": "bfloat16"}))
    for shard in (False, True) if processes > 1 else (False,):
        yield from ((each, shard) for each in recipes)


def _fitted(recipe: Recipe, graph: EntryGraph, device: PlannedDevice, processes: int, *, shard: bool) -> Fitted | None:
    options: list[str] = []
    for name in recipe.phases:
        if _fits(decided_for(recipe, graph, device, processes), graph, name, device, processes):
            continue
        for changes in _changes(recipe, graph, name, processes):
            changes |= {"shard": True} if shard else {}
            tried = with_memory(recipe, name, **changes)
            if _fits(tried, graph, name, device, processes):
                recipe = tried
                options += [
                    set_option("phases", name, "memory", key, value=_written(value)) for key, value in changes.items()
                ]
                break
        else:
            return None
    return Fitted(recipe, tuple(options))


def _changes(recipe: Recipe, graph: EntryGraph, name: str, processes: int) -> Iterator[dict[str, Any]]:
    """Yield memory settings of a phase, from those that cost least."""
    phase = recipe.phases[name]
    trained = graph.inner(phase.train)
    rows = phase.rows(trained.labels)
    memory = recipe.memory_of(phase)
    own = -(-rows[trained.labels[-1]] // processes)
    own = min(own, memory.rows_per_pass or own)
    fewer: list[dict[str, Any]] = [{}, *({"rows_per_pass": 2**power} for power in _powers(own))]
    _, saved = activation_memory(trained)
    order = sorted(trained.labels, key=lambda label: -rows[label] * saved[label].training)
    given = trained.labels if memory.checkpoint == "auto" else memory.checkpoint
    levels = [tuple(sorted({*given, *order[:number]}, key=trained.labels.index)) for number in range(len(order) + 1)]
    for chosen in dict.fromkeys(levels):
        kept = set(chosen) <= set(given)
        yield from (each | ({} if kept else {"checkpoint": chosen}) for each in fewer)


def _powers(rows: int) -> list[int]:
    """Return the exponents of the powers of two below a number, largest first."""
    return list(reversed(range((rows - 1).bit_length())))


def _fits(recipe: Recipe, graph: EntryGraph, name: str, device: PlannedDevice, processes: int) -> bool:
    half = device.precision_of(recipe, graph) != "float32"
    found = phase_memory(recipe, graph, name, processes=processes, half=half, gpu=device.gpu)
    return device.memory is None or found.peak <= device.memory


def _written(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(value)}]"
    return str(value).lower() if isinstance(value, bool) else str(value)
