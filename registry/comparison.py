"""Entries side by side: costs, architecture choices, and the distances that were measured under one protocol."""

from __future__ import annotations

import dataclasses
import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from registry.card import Card, make_card
from registry.catalogue import get
from registry.entry import Entry
from registry.model_card import results_of
from registry.record import architecture_params
from registry.results import Measurement, Protocol, Reported
from registry.weights import file_facts

__all__ = ["Comparison", "Curve", "Row", "compare_entries", "training_curve"]


@dataclass(frozen=True, slots=True)
class Curve:
    """A training's held-out v loss of the finest level, by training FLOPs spent: points (flops, loss)."""

    level: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One entry of a comparison. ``measured`` is None where nothing was measured under the common protocol."""

    entry: Entry
    card: Card
    params: dict[str, str]
    measured: Measurement | None
    reported: tuple[Reported, ...]
    curve: Curve | None

    def value(self, metric: str) -> float | None:
        """A measured value, or None: a number that is missing is never made up."""
        found = self.measured.metrics.get(metric) if self.measured is not None else None
        return found.value if found is not None and math.isfinite(found.value) else None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Entries, and the protocol under which they were measured."""

    rows: tuple[Row, ...]
    protocol: Protocol | None
    #: Names of the metrics that any entry has under the protocol.
    metrics: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def differing(self) -> tuple[str, ...]:
        """Architecture choices that are not alike in all entries."""
        names = dict.fromkeys(name for row in self.rows for name in row.params)
        return tuple(name for name in names if len({row.params.get(name) for row in self.rows}) > 1)


def compare_entries(names: Sequence[str], runs: str | Path = "runs") -> Comparison:
    """Compare entries under the protocol that most of them were measured under, the newest where several are.

    Args:
        names: of the entries, or paths.
        runs: folder of training runs, for their curves.

    Raises:
        LookupError, SpecError: an entry is not there or wrong.
    """
    entries = [get(name) for name in names]
    found = {entry: results_of(entry) for entry in entries}
    protocol = _common([measured for measured, _ in found.values()])
    rows = []
    for entry in entries:
        measured, quoted = found[entry]
        same = [m for m in measured if protocol is not None and m.protocol.key == protocol.key]
        # The last of a training, or the best where several trainings ended alike.
        best = max(same, key=lambda m: (m.training_step or 0, m.date), default=None)
        params = architecture_params(entry.architecture)
        rows.append(Row(entry, entry.card(), params, best, quoted, training_curve(entry, Path(runs))))
    metrics = dict.fromkeys(name for row in rows if row.measured for name in row.measured.metrics)
    notes = dict.fromkeys(warning for row in rows if row.measured for warning in row.measured.warnings)
    missing = [row.entry.name for row in rows if row.measured is None]
    lacking = [f"not measured under this protocol: {', '.join(missing)}"] if missing and protocol else []
    if protocol is None:
        lacking = ["no distance has been measured; 'zoo evaluate' measures"]
    return Comparison(tuple(rows), protocol, tuple(metrics), (*notes, *lacking))


def _common(measured: Sequence[Sequence[Measurement]]) -> Protocol | None:
    counts: Counter[str] = Counter()
    newest: dict[str, tuple[str, Protocol]] = {}
    for group in measured:
        counts.update({m.protocol.key for m in group})
        for m in group:
            newest[m.protocol.key] = max(newest.get(m.protocol.key, ("", m.protocol)), (m.date, m.protocol), key=_date)
    if not counts:
        return None
    return newest[max(counts, key=lambda key: (counts[key], newest[key][0]))][1]


def _date(pair: tuple[str, Protocol]) -> str:
    return pair[0]


def training_curve(entry: Entry, runs: Path) -> Curve | None:
    """The held-out loss of the finest level from the log of the newest run that trained this entry."""
    logs = sorted((*runs.glob("*/log.jsonl"), *runs.glob("*/*/log.jsonl")), key=lambda path: path.stat().st_mtime)
    for log in reversed(logs):
        try:
            recipe = json.loads((log.parent / "recipe.json").read_text())
            trained = file_facts(log.parent / "ema.safetensors").get("hash")
        except (OSError, ValueError):
            continue
        if trained == entry.hash:
            curve = _read_curve(entry, recipe, log)
            if curve is not None:
                return curve
    return None


def _read_curve(entry: Entry, recipe: dict[str, object], log: Path) -> Curve | None:
    level = entry.labels[0]
    flops: dict[str, float] = {}
    phases = recipe.get("phases")
    for name, phase in phases.items() if isinstance(phases, dict) else ():
        label, batch = phase.get("train"), phase.get("batch")
        if label in entry.labels and isinstance(batch, int):
            inner = dataclasses.replace(
                entry.architecture, levels=entry.architecture.levels[entry.labels.index(label) :]
            )
            flops[name] = make_card(inner).training_flops * batch
    spent, points = 0.0, []
    for line in log.read_text().splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if "loss" in record:
            spent += flops.get(record["phase"], 0.0)
        value = record.get("held_out_v_loss", {}).get(level)
        if value is not None and math.isfinite(value) and spent:
            points.append((spent, value))
    return Curve(level, tuple(points)) if points else None
