"""Training curves: validation loss over training FLOPs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from builders.checkpoints.shipped import file_facts
from builders.files import read_regular
from registry.costs.card import BACKWARD
from registry.entry import Entry
from specs.schemas.recipe import PhaseSpec

#: Largest size of a recipe.json in bytes.
MAX_RECIPE = 1_000_000


@dataclass(frozen=True, slots=True)
class Curve:
    """The validation v loss of the finest level of a training.

    Attributes:
        level: Label of the level.
        points: Pairs of the training FLOPs so far and the loss.
    """

    level: str
    points: tuple[tuple[float, float], ...]


def training_curve(entry: Entry, runs: Path) -> Curve | None:
    """Return the curve of the newest run that trained this entry, or None."""
    found = (*runs.glob("*/log.jsonl"), *runs.glob("*/*/log.jsonl"))
    logs = sorted((path for path in found if path.is_file()), key=lambda path: path.stat().st_mtime)
    for log in reversed(logs):
        try:
            phases = json.loads(read_regular(log.parent / "recipe.json", MAX_RECIPE))["phases"]
            trained = file_facts(log.parent / "ema.safetensors").get("hash")
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            continue
        if trained == entry.hash:
            curve = _read_curve(entry, phases, log)
            if curve is not None:
                return curve
    return None


def _step_flops(entry: Entry, phase: PhaseSpec) -> float:
    """Return the training FLOPs of a step: forward and backward, for each level the number of its rows."""
    labels = entry.labels[entry.labels.index(phase.train) :]
    rows = phase.rows(labels)
    return sum((1 + BACKWARD) * level.flops * rows[level.label] for level in entry.card().levels if level.label in rows)


def _read_curve(entry: Entry, phases: Mapping[str, object], log: Path) -> Curve | None:
    level = entry.labels[0]
    try:
        flops = {name: _step_flops(entry, PhaseSpec.model_validate(phase)) for name, phase in phases.items()}
    except (ValueError, AttributeError):  # the recipe of another version, whose FLOPs are not known
        return None
    spent, points = 0.0, []
    for line in log.read_text("utf-8", "replace").splitlines():
        try:
            record = json.loads(line)
            if "loss" in record:
                spent += flops[record["phase"]]
            # Logs of version 0.1 say held_out_v_loss.
            losses = record.get("val_v_loss") or record.get("held_out_v_loss") or {}
            value = float(losses.get(level, math.nan))
        except (ValueError, TypeError, AttributeError, KeyError, RecursionError):  # incomplete, or not of this format
            continue
        if math.isfinite(value) and spent:
            points.append((spent, value))
    return Curve(level, tuple(points)) if points else None
