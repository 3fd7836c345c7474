"""Folders of runs that were not trained."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import zoo
from builders.checkpoints.weights import save_weights
from registry.entry import Entry
from specs.recipe import load_recipe
from tests.helpers.networks import randomise

__all__ = ["run_folder", "write_run"]


def write_run(folder: Path, entry: Entry, losses: Sequence[tuple[int, Mapping[str, float]]]) -> None:
    """Write the folder of a run of micro-test whose validation losses are given by step."""
    folder.mkdir(parents=True)
    (folder / "recipe.json").write_text(load_recipe("micro-test").model_dump_json())
    save_weights(folder / "ema.safetensors", entry.architecture, entry.build().state_dict(), {})
    lines = []
    for step, values in losses:
        lines.append({"step": step, "phase": "p16", "loss": {}})
        lines.append({"step": step, "val_v_loss": dict(values)})
    (folder / "log.jsonl").write_text("\n".join(map(json.dumps, lines)))


def run_folder(path: Path, entry: Entry | None = None, **facts: Any) -> Path:
    """Write random weights as those of a run of micro-test on the emoji, and return the folder."""
    model = randomise((entry or zoo.get("mdm-micro")).build())
    recipe = {"name": "micro-test", "entry": "mdm-micro", "data": "noto-emoji-64", "ema": 0.9, "licence": ""}
    recipe |= {
        "optimizer": {"name": "adamw", "learning_rate": 0.002},
        "phases": {"p8": {"steps": 8}, "p16": {"hours": 2}},
    }
    facts = {"recipe": recipe, "step": "5", "phase": "p16"} | facts
    save_weights(path / "ema.safetensors", model.graph, model.state_dict(), facts)
    return path
