"""A comparison of entries on MLflow's page, stored as a shared view of the experiment with its charts set up.

MLflow keeps a shared view as JSON in the tag ``mlflow.sharedViewState.KEY`` of an experiment. The format is not
documented; this one was tested with MLflow 3.17 in a browser. ``dashboard_view.json`` has the parts of it that are the
same for all views.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from registry.evaluation.results import MOTION_SHARE, is_distance
from registry.facts import label_order
from registry.tracking.metric_names import copy_renamed, current_name

__all__ = [
    "NotTracked", "address", "chart", "curve_names", "page_template", "search_all", "store_state", "store_view",
    "view_state",
]  # fmt: skip

TAG = "mlflow.sharedViewState."
#: Longest value of an experiment's tag.
MAX_TAG = 5000
#: Params on the axes of the parallel coordinates.
CHOICES = ("levels", "innermost_resolution", "narrowest_width", "widest_width", "resnet_blocks", "attention_blocks")
COSTS = ("params", "flops", "training_flops", "activation_bytes_training", "latency_ms")
LOSSES = ("val_v_loss", "loss")


class NotTracked(LookupError):
    """An entry has no run to show; the message says how to track it."""


def view_state(run_ids: Sequence[str], metrics: Iterable[str]) -> dict[str, Any]:
    """Return the page's state: the runs that it lists and the charts that it shows.

    Args:
        run_ids: Identifiers of the runs to list. If empty, all runs are listed.
        metrics: Names of all metrics that the runs have.
    """
    present = {current_name(name) for name in metrics}
    # A distance with a level in its name belongs to the curve of a training.
    distances = sorted(name for name in present if is_distance(name) and not name.endswith("_best") and "/" not in name)
    shares = sorted(name for name in present if name.startswith(MOTION_SHARE) and "/" not in name)
    charts = _charts(present, distances, shares)
    filled = {each["metricSectionId"] for each in charts}
    template = page_template()
    sections = [template["section"] | section for section in template["sections"] if section["uuid"] in filled]
    return template["page"] | {
        "searchFilter": _filter(run_ids),
        "selectedColumns": [f"metrics.`{name}`" for name in ("params", "flops", *distances, *shares)],
        "compareRunCharts": charts,
        "compareRunSections": sections,
    }


@cache
def page_template() -> dict[str, Any]:
    """Return the parts of the state that are the same for all views, by name."""
    return dict(json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8")))


def _charts(present: set[str], distances: Sequence[str], shares: Sequence[str]) -> list[dict[str, Any]]:
    """Return the charts of all sections for the metrics that there are."""
    charts = []
    for name in distances:
        for cost in ("log10_flops", "log10_params"):
            axes = {"xaxis": {"key": cost, "type": "METRIC"}, "yaxis": {"key": name, "type": "METRIC"}}
            charts.append(chart("SCATTER", "distance", f"{cost}-{name}", f"{cost} against {name}", **axes))
    charts += [chart("BAR", "distance", name, name, metricKey=name) for name in (*distances, *shares)]
    choices = {"selectedParams": [*CHOICES], "selectedMetrics": ["log10_flops", *distances[:2]], "showAllRuns": False}
    charts.append(chart("PARALLEL", "architecture", "choices", "Architecture choices", **choices))
    charts += [chart("BAR", "costs", name, name, metricKey=name) for name in COSTS if name in present]
    for name in curve_names(present):
        charts.append(chart("LINE", "training", name, name, metricKey=name, selectedMetricKeys=[name]))
    charts.append(chart("IMAGE", "samples", "samples", "Samples", imageKeys=["samples"], step=0, showRunParams=False))
    return charts


def chart(kind: str, section: str, key: str, title: str, **settings: Any) -> dict[str, Any]:
    """Return a chart.

    Args:
        kind: MLflow's name of the kind of chart.
        section: Key of the section.
        key: Text that no other chart of this kind has in the section.
        title: Title of the chart.
        settings: Settings of this chart, beside those of all charts of its kind.
    """
    identity = {"type": kind, "uuid": f"{section}-{kind.lower()}-{key}", "metricSectionId": section}
    return {**page_template()["chart"], **page_template().get(kind, {}), **identity, "displayName": title, **settings}


def curve_names(present: set[str]) -> list[str]:
    """Return the metrics drawn over steps: distances, validation losses, training losses; the finest level first."""

    def order(name: str) -> tuple[int, str, tuple[int, int]]:
        kind, _, label = name.partition("/")
        return 0 if is_distance(kind) else 1 + LOSSES.index(kind), kind, label_order(label)

    curves = [name for name in present if "/" in name and not name.endswith("_best")]
    return sorted((name for name in curves if is_distance(name) or name.partition("/")[0] in LOSSES), key=order)


def store_view(client: Any, experiment: str, names: Sequence[str]) -> str:
    """Store a view of entries with the experiment, and return its key.

    Metrics that an earlier version logged are copied to their current names, so that the charts show all runs.

    Args:
        client: MLflow client of the store.
        experiment: Identifier of the experiment.
        names: Names of the entries. If empty, the view shows all runs.

    Raises:
        NotTracked: An entry has not been tracked, or none has.
        ValueError: The view has too many runs for MLflow.
    """
    runs = [run for run in search_all(client, experiment) if not names or run.data.tags.get("entry") in names]
    tracked = {run.data.tags.get("entry") for run in runs if run.data.tags.get("kind") == "entry"}
    missing = [name for name in names if name not in tracked]
    if missing or not tracked:
        what = f"not tracked yet: {', '.join(missing)}" if missing else "no entry has been tracked yet"
        raise NotTracked(f"{what}; run '{' '.join(['zoo track', *missing])}' first")
    for run in runs:
        copy_renamed(client, run)
    chosen = [run.info.run_id for run in runs] if names else []
    state = view_state(chosen, {name for run in runs for name in run.data.metrics})
    key = "zoo-" + hashlib.sha256(",".join(names).encode()).hexdigest()[:12]
    store_state(client, experiment, key, state)
    return key


def store_state(client: Any, experiment: str, key: str, state: Mapping[str, Any]) -> None:
    """Store the state of a view with the experiment.

    Args:
        client: MLflow client of the store.
        experiment: Identifier of the experiment.
        key: Key of the view.
        state: The state.

    Raises:
        ValueError: The state is too large for MLflow.
    """
    text = json.dumps(state, separators=(",", ":"))
    packed = "deflate;" + base64.b64encode(zlib.compress(text.encode(), 9)).decode()
    value = text if len(text) <= MAX_TAG else packed
    if len(value) > MAX_TAG:
        raise ValueError("MLflow cannot store a view of so many runs; name fewer entries")
    client.set_experiment_tag(experiment, TAG + key, value)


def address(base: str, experiment: str, key: str) -> str:
    """Return the address of a stored view on a server."""
    # Without `workflowType` MLflow opens its GenAI page.
    query = {"viewStateShareKey": key, "compareRunsMode": "CHART", "workflowType": "machine_learning"}
    return f"{base}/#/experiments/{experiment}/runs?{urlencode(query)}"


def search_all(client: Any, experiment: str, text: str = "") -> Iterator[Any]:
    """Yield all runs of the experiment.

    Args:
        client: MLflow client of the store.
        experiment: Identifier of the experiment.
        text: Filter of the runs in MLflow's language.
    """
    token: str | None = None
    while True:
        page = client.search_runs([experiment], text, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _filter(run_ids: Sequence[str]) -> str:
    """Return a filter of runs by their identifiers: MLflow's filters have IN for attributes only, not for tags."""
    return f"attributes.run_id IN ({', '.join(repr(run_id) for run_id in run_ids)})" if run_ids else ""
