"""Entries and runs side by side: costs, architecture choices, and distances measured under the same conditions."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from registry.catalogue import get
from registry.comparison.curves import Curve, run_curves, training_curves
from registry.costs.card import Card
from registry.entry import Entry
from registry.evaluation.results import Measurement, Metric, Protocol, Reported, best_value, results_of
from registry.facts import architecture_params
from registry.publishing.subject import is_weights, weights_subject

__all__ = ["Comparison", "Row", "compare_entries"]


@dataclass(frozen=True, slots=True)
class Row:
    """One entry of a comparison.

    Attributes:
        entry: The entry.
        card: Its costs.
        params: Its architecture choices.
        measured: Its measurement under the conditions of the comparison, or None.
        reported: Its results reported by others.
        curve: Curve of the finest level of its newest run, or None.
        curves: Curves of all levels of its runs, the newest run first.
        run: Folder or weights of a run, if one is compared instead of the entry.
    """

    entry: Entry
    card: Card
    params: dict[str, str]
    measured: Measurement | None
    reported: tuple[Reported, ...]
    curve: Curve | None
    curves: tuple[Curve, ...] = ()
    run: str = ""

    @property
    def name(self) -> str:
        """Name of the entry, or the folder or weights of the run."""
        return self.run or self.entry.name

    @property
    def nested(self) -> bool:
        """Whether the entry has more than one level."""
        return len(self.entry.labels) > 1

    def metric(self, name: str) -> Metric | None:
        """Return a measured metric, or None if it was not measured or is not finite."""
        found = self.measured.metrics.get(name) if self.measured is not None else None
        return found if found is not None and math.isfinite(found.value) else None

    def value(self, name: str) -> float | None:
        """Return the value of a measured metric, or None."""
        found = self.metric(name)
        return found.value if found is not None else None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Entries, and the conditions of their measurements: a protocol and the settings of the sampler.

    Attributes:
        rows: One row per entry.
        protocol: Protocol of the measurements, or None if nothing was measured.
        title: Conditions in one line, or None if nothing was measured.
        metrics: Names of the metrics that any entry has under the conditions.
        notes: Warnings about the measurements, and entries without any.
    """

    rows: tuple[Row, ...]
    protocol: Protocol | None
    title: str | None
    metrics: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def differing(self) -> tuple[str, ...]:
        """Names of the architecture choices in which the entries differ."""
        names = dict.fromkeys(name for row in self.rows for name in row.params)
        return tuple(name for name in names if len({row.params.get(name) for row in self.rows}) > 1)

    def best(self, metric: str) -> float | None:
        """Return the best value of a metric over all entries, or None."""
        return best_value(metric, [value for row in self.rows if (value := row.value(metric)) is not None])


def compare_entries(names: Sequence[str], runs: str | Path = "runs") -> Comparison:
    """Compare entries under the conditions that most of them share; of several, under the newest.

    Args:
        names: Names of entries, paths of their files, or folders or weights of runs. A run is compared by the
            measurements of its weights.
        runs: Folder of training runs, for the training curves.

    Raises:
        LookupError: An entry does not exist.
        SpecError: An entry is wrong.
        ValueError: A folder has no weights.
    """
    compared = list(dict.fromkeys(_compared(str(name)) for name in names))
    found = {each: _results(each) for each in compared}
    common = _common([measured for measured, _ in found.values()])
    rows = []
    for each in compared:
        entry = each.entry
        measured, quoted = found[each]
        same = [m for m in measured if common is not None and m.conditions == common.conditions]
        # The last measurement of a training, or the newest of several trainings that ended at the same step.
        best = max(same, key=lambda m: (m.training_step or 0, m.date), default=None)
        params = architecture_params(entry.architecture)
        curves = training_curves(entry, Path(runs)) if not each.run else run_curves(entry, each.folder)
        finest = next((curve for curve in curves if curve.level == entry.labels[0]), None)
        rows.append(Row(entry, entry.card(), params, best, quoted, finest, curves, each.run))
    metrics = dict.fromkeys(name for row in rows if row.measured for name in row.measured.metrics)
    notes = dict.fromkeys(warning for row in rows if row.measured for warning in row.measured.warnings)
    missing = [row.name for row in rows if row.measured is None]
    lacking = [f"not measured under this protocol: {', '.join(missing)}"] if missing and common else []
    if common is None:
        return Comparison(tuple(rows), None, None, (), ("no distance has been measured; run 'zoo evaluate'",))
    return Comparison(tuple(rows), common.protocol, common.title, tuple(metrics), (*notes, *lacking))


@dataclass(frozen=True, slots=True)
class _Compared:
    """An entry, or weights of it: the folder or file as given, and the hash of their content."""

    entry: Entry
    run: str = ""
    content: str = ""

    @property
    def folder(self) -> Path:
        return Path(self.run).parent if self.run.endswith(".safetensors") else Path(self.run)


def _compared(name: str) -> _Compared:
    if not is_weights(name):
        return _Compared(get(name))
    subject = weights_subject(name)
    return _Compared(subject.entry, name.rstrip("/") or name, subject.metadata.get("content", "")[:16])


def _results(each: _Compared) -> tuple[tuple[Measurement, ...], tuple[Reported, ...]]:
    """Return the results of an entry, or those of the weights of a run."""
    measured, quoted = results_of(each.entry)
    if not each.run:
        return measured, quoted
    return tuple(m for m in measured if m.weights == each.content), ()


def _common(measured: Sequence[Sequence[Measurement]]) -> Measurement | None:
    """Return the newest measurement under the conditions that most entries share."""
    counts: Counter[str] = Counter()
    newest: dict[str, Measurement] = {}
    for group in measured:
        counts.update({m.conditions for m in group})
        for m in group:
            newest[m.conditions] = max(newest.get(m.conditions, m), m, key=lambda each: each.date)
    return max(newest.values(), key=lambda m: (counts[m.conditions], m.date), default=None)
