"""What the spool already holds of a run that goes on: what not to say twice, the best values, what was not finite."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from registry.tracking.spool import Spool

__all__ = ["SpoolHistory"]


class SpoolHistory:
    """The last run of a spool.

    Args:
        spool: read from its start.
        first_step: the step that training goes on from. What was logged of later steps, before a kill, is not logged
            again: the history of a metric has one point a step.

    Attributes:
        run: the record that opened the run, or None.
        uri: of the store it was last tracked in, without its password.
        status: how it last ended, or "RUNNING".
        non_finite: of each metric that was not always finite: how often, first at which step, last at which step.
        best: the smallest value of each metric whose name ends in ``_best``, under the name without that.
    """

    def __init__(self, spool: Spool, first_step: int) -> None:
        self.run: Mapping[str, Any] | None = None
        self.uri: str | None = None
        self.status = "RUNNING"
        self.best: dict[str, float] = {}
        self._told: set[tuple[str, int]] = set()
        self.non_finite: dict[str, list[int]] = {}
        for line in spool.lines():
            self._read(line.record, first_step)

    def forget(self) -> None:
        """A new run starts."""
        self.run, self.status = None, "RUNNING"
        self.best, self._told, self.non_finite = {}, set(), {}

    def filtered(self, values: Mapping[str, float], step: int) -> dict[str, float]:
        """What is to be logged: numbers that are finite and were not logged at this step before."""
        kept = {name: float(value) for name, value in values.items() if (name, step) not in self._told}
        for name, value in kept.items():
            if not math.isfinite(value):
                count, first, last = self.non_finite.get(name, [0, step, -1])
                if step > last:
                    self.non_finite[name] = [count + 1, first, step]
        return {name: value for name, value in kept.items() if math.isfinite(value)}

    def improve(self, values: Mapping[str, float]) -> dict[str, float]:
        """The best so far, being the smallest, of each, under ``NAME_best``."""
        finite = {name: value for name, value in values.items() if math.isfinite(value)}
        self.best |= {name: min(value, self.best.get(name, value)) for name, value in finite.items()}
        return {f"{name}_best": self.best[name] for name in finite}

    def news_of_non_finite(self) -> dict[str, list[int]]:
        """The counts to be told now: those that have just doubled."""
        return {name: counts for name, counts in self.non_finite.items() if counts[0] & (counts[0] - 1) == 0}

    def _read(self, record: Mapping[str, Any], first_step: int) -> None:
        kind = record.get("kind")
        self.uri = record.get("uri") or self.uri
        if kind == "run":
            self.forget()
            self.run = record
        elif kind == "status":
            self.status = record["status"]
        elif kind == "non_finite":
            self.non_finite |= {name: list(counts) for name, counts in record["counts"].items()}
        elif kind == "metrics":
            if record["step"] > first_step:
                self._told |= {(name, record["step"]) for name in record["values"]}
            best = {name.removesuffix("_best"): v for name, v in record["values"].items() if name.endswith("_best")}
            self.best |= {name: min(value, self.best.get(name, value)) for name, value in best.items()}
