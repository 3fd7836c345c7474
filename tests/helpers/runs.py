"""Folders of runs that were not trained."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from builders.checkpoints.weights import save_weights
from registry.entry import Entry
from specs.recipe import load_recipe

__all__ = ["write_run"]


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
