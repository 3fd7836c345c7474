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
        measured: Its measurement of images under the conditions of the comparison, or None.
        reported: Its results reported by others.
        curve: Curve of the finest level of its newest run, or None.
        curves: Curves of all levels of its runs, the newest run first.
        run: Folder or weights of a run, if one is compared instead of the entry.
        clips: Its measurement of clips under the conditions of the comparison, or None.
    """

    entry: Entry
    card: Card
    params: dict[str, str]
    measured: Measurement | None
    reported: tuple[Reported, ...]
    curve: Curve | None
    curves: tuple[Curve, ...] = ()
    run: str = ""
    clips: Measurement | None = None

    @property
    def measurements(self) -> tuple[Measurement, ...]:
        """The measurements of images and of clips that there are."""
        return tuple(each for each in (self.measured, self.clips) if each is not None)

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
        found = next((each.metrics[name] for each in self.measurements if name in each.metrics), None)
        return found if found is not None and math.isfinite(found.value) else None

    def value(self, name: str) -> float | None:
        """Return the value of a measured metric, or None."""
        found = self.metric(name)
        return found.value if found is not None else None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Entries, and the conditions of their measurements: a protocol and the settings of the sampler.

    Measurements of images and of clips have conditions of their own, and metrics of different names.

    Attributes:
        rows: One row per entry.
        protocol: Protocol of the measurements of images, or None if there are none.
        title: Conditions in one line, of images and of clips, or None if nothing was measured.
        metrics: Names of the metrics that any entry has under the conditions, those of images first.
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
    images, clips = (_common([_of_kind(m, frames) for m, _ in found.values()]) for frames in (False, True))
    rows = []
    for each in compared:
        entry = each.entry
        measured, quoted = found[each]
        params = architecture_params(entry.architecture)
        curves = training_curves(entry, Path(runs)) if not each.run else run_curves(entry, each.folder)
        finest = next((curve for curve in curves if curve.level == entry.labels[0]), None)
        best = _under(measured, images), _under(measured, clips)
        rows.append(Row(entry, entry.card(), params, best[0], quoted, finest, curves, each.run, best[1]))
    # Columns of images, then columns of clips.
    kinds = ([row.measured for row in rows], [row.clips for row in rows])
    made = [measurement for kind in kinds for measurement in kind if measurement is not None]
    metrics = dict.fromkeys(name for measurement in made for name in measurement.metrics)
    notes = dict.fromkeys(warning for measurement in made for warning in measurement.warnings)
    titles = [common.title for common in (images, clips) if common is not None]
    if not titles:
        return Comparison(tuple(rows), None, None, (), ("no distance has been measured; run 'zoo evaluate'",))
    missing = [row.name for row in rows if not row.measurements]
    lacking = [f"not measured under this protocol: {', '.join(missing)}"] if missing else []
    protocol = images.protocol if images is not None else None
    return Comparison(tuple(rows), protocol, "; and ".join(titles), tuple(metrics), (*notes, *lacking))


def _of_kind(measured: Sequence[Measurement], clips: bool) -> tuple[Measurement, ...]:
    """Return the measurements of clips, or those of images."""
    return tuple(m for m in measured if (m.protocol.frames > 1) == clips)


def _under(measured: Sequence[Measurement], common: Measurement | None) -> Measurement | None:
    """Return the measurement under the conditions of another.

    Of several, it is the last of a training, or the newest of several trainings that ended at the same step.
    """
    same = [m for m in measured if common is not None and m.conditions == common.conditions]
    return max(same, key=lambda m: (m.training_step or 0, m.date), default=None)


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
