"""Entries side by side: costs, architecture choices, and the distances that were measured under one protocol."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from registry.catalogue import get
from registry.comparison.curves import Curve, training_curve
from registry.costs.card import Card
from registry.entry import Entry
from registry.evaluation.results import Measurement, Protocol, Reported, best_value, results_of
from registry.facts import architecture_params

__all__ = ["Comparison", "Row", "compare_entries"]


@dataclass(frozen=True, slots=True)
class Row:
    """One entry of a comparison. ``measured`` is None where nothing was measured under the common conditions."""

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
    """Entries, and the conditions under which they were measured: a protocol, and how samples were drawn."""

    rows: tuple[Row, ...]
    protocol: Protocol | None
    #: The conditions in a line; None where nothing was measured.
    title: str | None
    #: Names of the metrics that any entry has under the conditions.
    metrics: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def differing(self) -> tuple[str, ...]:
        """Architecture choices that are not alike in all entries."""
        names = dict.fromkeys(name for row in self.rows for name in row.params)
        return tuple(name for name in names if len({row.params.get(name) for row in self.rows}) > 1)

    def best(self, metric: str) -> float | None:
        """The best value that an entry has, or None."""
        return best_value(metric, [value for row in self.rows if (value := row.value(metric)) is not None])


def compare_entries(names: Sequence[str], runs: str | Path = "runs") -> Comparison:
    """Compare entries under the conditions that most of them were measured under, the newest where several are.

    Args:
        names: of the entries, or paths.
        runs: folder of training runs, for their curves.

    Raises:
        LookupError, SpecError: an entry is not there or wrong.
    """
    entries = list(dict.fromkeys(get(name) for name in names))
    found = {entry: results_of(entry) for entry in entries}
    common = _common([measured for measured, _ in found.values()])
    rows = []
    for entry in entries:
        measured, quoted = found[entry]
        same = [m for m in measured if common is not None and m.conditions == common.conditions]
        # The last of a training, or the newest where several trainings ended alike.
        best = max(same, key=lambda m: (m.training_step or 0, m.date), default=None)
        params = architecture_params(entry.architecture)
        rows.append(Row(entry, entry.card(), params, best, quoted, training_curve(entry, Path(runs))))
    metrics = dict.fromkeys(name for row in rows if row.measured for name in row.measured.metrics)
    notes = dict.fromkeys(warning for row in rows if row.measured for warning in row.measured.warnings)
    missing = [row.entry.name for row in rows if row.measured is None]
    lacking = [f"not measured under this protocol: {', '.join(missing)}"] if missing and common else []
    if common is None:
        return Comparison(tuple(rows), None, None, (), ("no distance has been measured; 'zoo evaluate' measures",))
    return Comparison(tuple(rows), common.protocol, common.title, tuple(metrics), (*notes, *lacking))


def _common(measured: Sequence[Sequence[Measurement]]) -> Measurement | None:
    """The newest measurement under the conditions that most entries share."""
    counts: Counter[str] = Counter()
    newest: dict[str, Measurement] = {}
    for group in measured:
        counts.update({m.conditions for m in group})
        for m in group:
            newest[m.conditions] = max(newest.get(m.conditions, m), m, key=lambda each: each.date)
    return max(newest.values(), key=lambda m: (counts[m.conditions], m.date), default=None)
