"""Training curves of a run, by training FLOPs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from builders.checkpoints.shipped import file_facts
from registry.costs.card import BACKWARD
from registry.entry import Entry
from specs.schemas.recipe import PhaseSpec


@dataclass(frozen=True, slots=True)
class Curve:
    """A training's held-out v loss of the finest level, by training FLOPs spent: points (flops, loss)."""

    level: str
    points: tuple[tuple[float, float], ...]


def training_curve(entry: Entry, runs: Path) -> Curve | None:
    """The held-out loss of the finest level from the log of the newest run that trained this entry."""
    logs = sorted((*runs.glob("*/log.jsonl"), *runs.glob("*/*/log.jsonl")), key=lambda path: path.stat().st_mtime)
    for log in reversed(logs):
        try:
            phases = json.loads((log.parent / "recipe.json").read_text())["phases"]
            trained = file_facts(log.parent / "ema.safetensors").get("hash")
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if trained == entry.hash:
            curve = _read_curve(entry, phases, log)
            if curve is not None:
                return curve
    return None


def _step_flops(entry: Entry, phase: PhaseSpec) -> float:
    """Training FLOPs of a step: of every level, three times the forward FLOPs of each of its rows."""
    labels = entry.labels[entry.labels.index(phase.train) :]
    rows = phase.rows(labels)
    return sum((1 + BACKWARD) * level.flops * rows[level.label] for level in entry.card().levels if level.label in rows)


def _read_curve(entry: Entry, phases: Mapping[str, object], log: Path) -> Curve | None:
    level = entry.labels[0]
    try:
        flops = {name: _step_flops(entry, PhaseSpec.model_validate(phase)) for name, phase in phases.items()}
    except ValueError:  # a recipe of another version: what it spent is not known
        return None
    spent, points = 0.0, []
    for line in log.read_text(errors="replace").splitlines():
        try:
            record = json.loads(line)
            if "loss" in record:
                spent += flops[record["phase"]]
            # Logs of version 0.1 say held_out_v_loss.
            losses = record.get("val_v_loss") or record.get("held_out_v_loss") or {}
            value = float(losses.get(level, math.nan))
        except (ValueError, TypeError, AttributeError, KeyError):  # what a kill cut short, or others wrote
            continue
        if math.isfinite(value) and spent:
            points.append((spent, value))
    return Curve(level, tuple(points)) if points else None
