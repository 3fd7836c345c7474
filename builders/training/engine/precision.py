"""The precision of a run, which stays what it was at its start."""

from __future__ import annotations

from pathlib import Path

import torch

from builders.checkpoints.header import CheckpointError, read_metadata
from builders.precision import pick_precision
from specs.graph import EntryGraph
from specs.passes.usual_side import usual_side
from specs.schemas.recipe import Recipe

__all__ = ["run_precision"]


def run_precision(recipe: Recipe, graph: EntryGraph, state: Path, device: torch.device) -> str:
    """Return the precision of a run: that of the recipe, and for "auto" that of its state, or else the one that pays.

    Args:
        recipe: Recipe of the run.
        graph: Graph of its entry.
        state: State to resume from; it need not exist.
        device: Device to train on.
    """
    if recipe.precision != "auto":
        return recipe.precision
    try:
        begun = read_metadata(state).get("precision", "")
    except CheckpointError:  # none, or a damaged one, which is reported when it is read
        return pick_precision("auto", device, usual_side(recipe, graph))
    # States of 0.1 have no precision: it was float32 on every CPU.
    return begun or pick_precision("auto", device)
