"""Runs with averages whose weights were moved at random in place of training."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import torch

from builders.training.averaging.files import write_averages
from builders.training.distributed import Processes
from builders.training.phase import Phase
from builders.training.settings import phase_settings
from specs.load import load_entry
from specs.recipe import load_recipe
from specs.recipe_identity import written

__all__ = ["grown"]


def grown(*changes: str, folder: Path | None = None) -> tuple[Phase, Phase]:
    """Return both phases of micro-test with averages, after 3 and 2 steps.

    Args:
        changes: Changes to the recipe.
        folder: Folder to which the averages of both are saved, with the recipe. Default: none.
    """
    recipe = load_recipe("micro-test", ["averages={lengths: [0.1]}", *changes])
    entry = load_entry(recipe.entry).graph
    first = Phase(phase_settings(recipe, entry, "p8"), Processes("cpu"))
    _move(first, 3)
    second = Phase(phase_settings(recipe, entry, "p16"), Processes("cpu"), first.progress.next_phase("p16", 2))
    second.initialize(first)
    _move(second, 2)
    if folder is not None:
        folder.mkdir(exist_ok=True)
        (folder / "recipe.json").write_text(json.dumps(written(recipe)))
        for phase in (first, second):
            about = {"recipe": written(recipe), "phase": phase.progress.phase, "data": recipe.data_name}
            write_averages(folder, phase, phase.power_averages(), about)
    return first, second


def _move(phase: Phase, steps: int) -> None:
    generator = torch.Generator().manual_seed(steps)
    for step in range(steps):
        with torch.no_grad():
            for _, value in phase.trained:
                value += 0.1 * torch.randn(value.shape, generator=generator)
        phase.ema.update(step)
        phase.power.update(step)
    phase.progress = replace(phase.progress, step=steps)
