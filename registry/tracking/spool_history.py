"""The history of a run that resumes: what its spool has already, its best values, and its non-finite values."""

from __future__ import annotations

import math
from collections.abc import Mapping

from registry.tracking.metric_names import current_name
from registry.tracking.records import Record
from registry.tracking.spool import Spool

__all__ = ["SpoolHistory"]


class SpoolHistory:
    """The history of the last run of a spool.

    Args:
        spool: Spool to read, from its start.
        first_step: Step from which training resumes. Values of later steps that were logged before a kill are not
            logged again: a metric has one point per step.

    Attributes:
        run: Record that opened the run, or None.
        uri: Address of the store that it was last tracked in, without its password.
        place: Path of the file of that store from the run's folder, or None.
        status: Status at its last end, or "RUNNING".
        non_finite: For each metric with values that are not finite: their number, first step and last step.
        best: Smallest value of each metric that is logged with its best value, of those measured like the last one.
    """

    def __init__(self, spool: Spool, first_step: int) -> None:
        self.run: Record | None = None
        self.uri: str | None = None
        self.place: str | None = None
        self.status = "RUNNING"
        self.best: dict[str, float] = {}
        self._how: dict[str, str] = {}
        self._logged: set[tuple[str, int]] = set()
        self.non_finite: dict[str, list[int]] = {}
        for line in spool.lines():
            self._read(line.record, first_step)

    def lines_of(self, record: Record) -> list[Record]:
        """Return the lines of the spool for a record of the observer, and update the history.

        A "start" becomes a new run with its details, or the new status of a resumed run. Of "metrics", the values that
        are not finite or were logged before are left out. An "end" becomes the last counts and a status.
        """
        kind = record["kind"]
        if kind == "start":
            return self._start(record)
        if kind == "metrics":
            return self._metrics(record)
        if kind == "end":
            counts: list[Record] = [{"kind": "non_finite", "counts": self.non_finite}] if self.non_finite else []
            return [*counts, self._status(record["status"], record["time"])]
        return [record]

    def _start(self, record: Record) -> list[Record]:
        run = record["run"]
        same = self.run is not None and self.run["identity"] == run["identity"]
        # A run that is extended has another identity. After a finished run, training from scratch is another run.
        if (record["resumed"] and self.run is not None) or (same and self.status != "FINISHED"):
            where = {key: run[key] for key in ("uri", "place") if key in run}
            status = {**self._status("RUNNING", run["time"]), **where}
            return [{"kind": "tags", "values": run["tags"]}, status]
        self._open(run)
        return [run, *record["details"]]

    def _metrics(self, record: Record) -> list[Record]:
        values, step = record["values"], record["step"]
        how = record.get("best")
        if how is not None:
            values = values | self.improve(values, how)
        finite = self.filtered(values, step)
        lines: list[Record] = []
        if finite:
            line = {"kind": "metrics", "step": step, "time": record["time"], "values": finite}
            lines.append(line | ({"best": how} if how else {}))
        if len(finite) < len(values) and (counts := self.counts_to_report()):
            lines.append({"kind": "non_finite", "counts": counts})
        return lines

    def _status(self, status: str, time: int) -> Record:
        return {"kind": "status", "key": self.run["key"] if self.run else "", "status": status, "time": time}

    def _open(self, run: Record) -> None:
        """Replace the history by that of a new run."""
        self.run, self.status = run, "RUNNING"
        self.best, self._how, self._logged, self.non_finite = {}, {}, set(), {}

    def filtered(self, values: Mapping[str, float], step: int) -> dict[str, float]:
        """Return the values to log: those that are finite and were not logged at this step before."""
        finite = {}
        for name, value in values.items():
            if (name, step) in self._logged:
                continue
            if math.isfinite(value):
                finite[name] = float(value)
                continue
            count, first, last = self.non_finite.get(name, [0, step, -1])
            if step > last:
                self.non_finite[name] = [count + 1, first, step]
        return finite

    def improve(self, values: Mapping[str, float], how: str = "") -> dict[str, float]:
        """Return the smallest value so far of each metric that was measured in the same way, under ``NAME_best``.

        Args:
            values: Values by name.
            how: How they were measured; empty for validation losses of versions before 0.2.
        """
        finite = {name: value for name, value in values.items() if math.isfinite(value)}
        self._update_best(finite, how)
        return {f"{name}_best": self.best[name] for name in finite}

    def counts_to_report(self) -> dict[str, list[int]]:
        """Return the counts in ``non_finite`` that are powers of two, so that few records report many values."""
        return {name: counts for name, counts in self.non_finite.items() if counts[0] & (counts[0] - 1) == 0}

    def _read(self, record: Record, first_step: int) -> None:
        kind = record.get("kind")
        if record.get("uri"):
            self.uri, self.place = record["uri"], record.get("place")
        if kind == "run":
            self._open(record)
        elif kind == "status":
            self.status = record["status"]
        elif kind == "non_finite":
            self.non_finite |= {current_name(name): list(counts) for name, counts in record["counts"].items()}
        elif kind == "metrics":
            values = {current_name(name): value for name, value in record["values"].items()}
            if record["step"] > first_step:
                self._logged |= {(name, record["step"]) for name in values}
            best = {n.removesuffix("_best"): v for n, v in values.items() if n.endswith("_best")}
            self._update_best(best, record.get("best", ""))

    def _update_best(self, values: Mapping[str, float], how: str) -> None:
        for name, value in values.items():
            same = self._how.get(name, how) == how
            self.best[name] = min(value, self.best.get(name, value)) if same else value
            self._how[name] = how
