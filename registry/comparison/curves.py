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
#: Largest number of runs of an entry.
MOST_RUNS = 5


@dataclass(frozen=True, slots=True)
class Curve:
    """The validation v loss of a level during a training.

    Attributes:
        level: Label of the level.
        points: Pairs of the training FLOPs so far and the loss.
        run: Folder of the run, without the folder of all runs.
    """

    level: str
    points: tuple[tuple[float, float], ...]
    run: str = ""


def training_curve(entry: Entry, runs: Path) -> Curve | None:
    """Return the curve of the finest level of the newest run that trained this entry, or None."""
    curves = (curve for curve in training_curves(entry, runs) if curve.level == entry.labels[0])
    return next(curves, None)


def training_curves(entry: Entry, runs: Path) -> tuple[Curve, ...]:
    """Return the curves of all levels of the runs that trained this entry, the newest run first."""
    logs = [path for path in (*runs.glob("*/log.jsonl"), *runs.glob("*/*/log.jsonl")) if path.is_file()]
    curves: list[Curve] = []
    count = 0
    for log in sorted(logs, key=lambda path: path.stat().st_mtime, reverse=True):
        found = run_curves(entry, log.parent, str(log.parent.relative_to(runs)))
        curves += found
        count += bool(found)
        if count == MOST_RUNS:
            break
    return tuple(curves)


def run_curves(entry: Entry, folder: Path, run: str = "") -> tuple[Curve, ...]:
    """Return the curves of all levels of one run; empty if it trained another entry, or has no log.

    Args:
        entry: Entry.
        folder: Folder of the run.
        run: Name of the run in its curves.
    """
    try:
        phases = json.loads(read_regular(folder / "recipe.json", MAX_RECIPE))["phases"]
        trained = file_facts(folder / "ema.safetensors").get("hash")
        return _read_curves(entry, phases, folder / "log.jsonl", run) if trained == entry.hash else ()
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ()


def _step_flops(entry: Entry, phase: PhaseSpec) -> float:
    """Return the training FLOPs of a step: forward and backward, for each level the number of its rows."""
    labels = entry.labels[entry.labels.index(phase.train) :]
    rows = phase.rows(labels)
    return sum((1 + BACKWARD) * level.flops * rows[level.label] for level in entry.card().levels if level.label in rows)


def _read_curves(entry: Entry, phases: object, log: Path, run: str) -> tuple[Curve, ...]:
    """Return the curves of a run, the finest level first."""
    try:
        known = phases.items() if isinstance(phases, Mapping) else ()
        flops = {name: _step_flops(entry, PhaseSpec.model_validate(phase)) for name, phase in known}
    except ValueError:  # the recipe of another version, whose FLOPs are not known
        return ()
    spent = 0.0
    points: dict[str, list[tuple[float, float]]] = {label: [] for label in entry.labels}
    for line in read_regular(log).decode("utf-8", "replace").splitlines():
        try:
            record = json.loads(line)
            if "loss" in record:
                spent += flops[record["phase"]]
            # Logs of version 0.1 say held_out_v_loss.
            losses = record.get("val_v_loss") or record.get("held_out_v_loss") or {}
            values = {label: float(losses.get(label, math.nan)) for label in entry.labels}
        except (ValueError, TypeError, AttributeError, KeyError, RecursionError):  # incomplete, or not of this format
            continue
        for label, value in values.items():
            if math.isfinite(value) and spent:
                points[label].append((spent, value))
    return tuple(Curve(label, tuple(found), run) for label, found in points.items() if found)
