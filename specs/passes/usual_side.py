"""The side of images by which ``precision: auto`` of a recipe is decided on a CPU."""

from __future__ import annotations

from specs.graph import EntryGraph
from specs.schemas.recipe import Recipe

__all__ = ["CPU_SIDE", "usual_side"]

#: Smallest side in pixels of the images for which bfloat16 pays in training on a CPU that computes in it. Below it,
#: converting takes longer than it saves (docs/measurements.md).
CPU_SIDE = 64


def usual_side(recipe: Recipe, graph: EntryGraph) -> int:
    """Return the largest side in pixels that at least half of a recipe's training reaches.

    Training is counted in steps, or in hours if all phases have hours. Of a recipe with both it is the smallest side.

    Args:
        recipe: Recipe whose phases train levels of the graph; phases that train other levels are skipped.
        graph: Graph of its entry.
    """
    phases = [phase for phase in recipe.phases.values() if phase.train in graph.labels]
    sides = [graph.inner(phase.train).resolution for phase in phases]
    steps, hours = [phase.steps for phase in phases], [phase.hours for phase in phases]
    lengths = [each for each in (hours if None in steps else steps) if each is not None]
    if len(lengths) < len(phases):
        return min(sides)
    parts = list(zip(sides, lengths, strict=True))
    reached = {side: sum(length for other, length in parts if other >= side) for side in sides}
    return max((side for side in sides if 2 * reached[side] >= reached[min(sides)]), default=0)
