"""Names of measured metrics in an MLflow experiment: numbers under different conditions never share a column."""

from __future__ import annotations

from typing import Any

from registry.evaluation.results import _KEYED
from registry.tracking.store import store_lock

__all__ = ["Columns"]

#: Tag of an experiment: the key of the conditions to which the plain name of a metric belongs.
TAG = "zoo.protocol."
#: Metrics that are called after no features, for their own define them.
DEFINING = ("fid", "kid", "inception_score")


class Columns:
    """The plain name of a metric belongs to the conditions that an experiment was given first, and a tag of it says so.

    Args:
        client: of MLflow.
        experiment: its identity.
    """

    def __init__(self, client: Any, experiment: str) -> None:
        self.client, self.experiment = client, experiment
        self._known: dict[str, str] = {}

    def name(self, name: str) -> str:
        """A name as :func:`keyed` gives it, without the key where the experiment's plain name is of these conditions.

        Any other name stays as it is.
        """
        found = _KEYED.fullmatch(name)
        if found is None:
            return name
        plain, best = found["metric"] + (found["label"] or ""), found["best"] or ""
        return plain + best if self._owner(plain, found["key"]) == found["key"] else name

    def _owner(self, plain: str, key: str) -> str:
        """The conditions of a plain name; ``key`` if it has none yet."""
        tag = TAG + plain
        if tag not in self._known:
            with store_lock(self.client.tracking_uri):
                tags = self.client.get_experiment(self.experiment).tags
                self._known |= {name: value for name, value in tags.items() if name.startswith(TAG)}
                if tag not in self._known and (before := self._owner_by_features(plain)) is not None:
                    self._known[tag] = before
                if tag not in self._known:
                    self.client.set_experiment_tag(self.experiment, tag, key)
                    self._known[tag] = key
        return self._known[tag]

    def _owner_by_features(self, plain: str) -> str | None:
        """Who had the plain names when a tag was for all metrics of some features, as in stores of earlier versions."""
        metric = plain.partition("/")[0]
        for tag, key in self._known.items():
            features = tag.removeprefix(TAG)
            if metric.endswith(f"_{features}") or (features == "inception" and metric in DEFINING):
                return key
        return None
