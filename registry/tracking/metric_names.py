"""Names of metrics in MLflow: which measurements have the plain name of a metric, and names of earlier versions."""

from __future__ import annotations

import re
from typing import Any

from registry.evaluation.results import KEYED
from registry.tracking.store import MODEL_TAG, log_metrics, store_lock

__all__ = ["MetricNames", "copy_renamed", "current_name"]

#: Tag of an experiment: the conditions whose measurements have the plain name of a metric.
TAG = "zoo.protocol."
#: Metrics that are not named after their features, because their definition includes them.
DEFINING = ("fid", "kid", "inception_score")
#: Names up to version 0.1, followed by the end of the name, a level or a part, and the names since then.
RENAMED = {
    "parameters": "params",
    "log10_parameters": "log10_params",
    "per_level/parameters": "per_level/params",
    "held_out_v_loss": "val_v_loss",
}
_RENAMED = re.compile(rf"({'|'.join(RENAMED)})([./].+)?")


def current_name(name: str) -> str:
    """Return the current name of a metric that may have a name of an earlier version."""
    found = _RENAMED.fullmatch(name)
    return RENAMED[found[1]] + (found[2] or "") if found else name


def copy_renamed(client: Any, run: Any) -> None:
    """Log the metrics that a run has under names of an earlier version under their current names too.

    A dashboard then shows runs of all versions in the same columns and charts.

    Args:
        client: MLflow client of the store.
        run: MLflow run. The metrics in ``run.data.metrics`` are updated in the store only.
    """
    from mlflow.entities import Metric

    identity, latest, model = run.info.run_id, run.data.metrics, run.data.tags.get(MODEL_TAG)
    for old, new in ((name, current_name(name)) for name in latest):
        if new == old or latest.get(new) == latest[old]:
            continue
        # A run that was resumed has its later steps under the current name.
        steps = {point.step for point in client.get_metric_history(identity, new)} if new in latest else set()
        points = [point for point in client.get_metric_history(identity, old) if point.step not in steps]
        log_metrics(client, identity, [Metric(new, p.value, p.timestamp, p.step, model_id=model) for p in points])


class MetricNames:
    """Names of metrics in one experiment: measurements under different conditions never share a name.

    The plain name of a metric, such as ``kid_efficientnet_lite0``, belongs to the conditions that were logged first in
    the experiment, which keeps their key in a tag. Metrics measured under other conditions keep the key in their names.

    Args:
        client: MLflow client of the store.
        experiment: Identifier of the experiment.
    """

    def __init__(self, client: Any, experiment: str) -> None:
        self.client, self.experiment = client, experiment
        self._owners: dict[str, str] = {}

    def name(self, name: str) -> str:
        """Return the name of a metric in the experiment.

        Args:
            name: Name of a metric. A name with a key, as :func:`registry.evaluation.results.keyed` returns it, loses
                the key if its conditions own the plain name. A name of an earlier version is replaced.
        """
        found = KEYED.fullmatch(name)
        if found is None:
            return current_name(name)
        plain, best = found["metric"] + (found["label"] or ""), found["best"] or ""
        return plain + best if self._owner(plain, found["key"]) == found["key"] else name

    def _owner(self, plain: str, key: str) -> str:
        """Return the key of the conditions that own a plain name; ``key`` becomes the owner if there is none."""
        tag = TAG + plain
        if tag in self._owners:
            return self._owners[tag]
        # Trainings and `zoo track` in other processes may claim the name at the same time. In a SQLite store the lock
        # makes reading and setting the tag one step. A server has no lock: there the tag that was set last wins in
        # later processes, and two processes that start within milliseconds may each use the plain name.
        with store_lock(self.client.tracking_uri):
            tags = self.client.get_experiment(self.experiment).tags
            self._owners |= {name: value for name, value in tags.items() if name.startswith(TAG)}
            if tag not in self._owners:
                owner = self._owner_by_features(plain)
                if owner is None:
                    self.client.set_experiment_tag(self.experiment, tag, key)
                self._owners[tag] = owner or key
        return self._owners[tag]

    def _owner_by_features(self, plain: str) -> str | None:
        """Return the owner in a store of an earlier version, where one tag covered all metrics of some features."""
        metric = plain.partition("/")[0]
        for tag, key in self._owners.items():
            features = tag.removeprefix(TAG)
            if metric.endswith(f"_{features}") or (features == "inception" and metric in DEFINING):
                return key
        return None
