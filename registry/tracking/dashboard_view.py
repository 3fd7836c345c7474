"""A comparison of entries in MLflow's own page: charts set up beforehand, stored as a shared view of the experiment.

MLflow keeps a shared view as JSON in the tag ``mlflow.sharedViewState.KEY`` of an experiment. The format is not
documented; what is written here was tested with MLflow 3.17 in a browser.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import urlencode

from registry.evaluation.results import is_distance

__all__ = ["NotTracked", "address", "store_view", "view_state"]

TAG = "mlflow.sharedViewState."
#: Longest value that a tag of an experiment takes.
MAX_TAG = 5000
#: Architecture choices on the axes of the parallel coordinates.
CHOICES = ("levels", "innermost_resolution", "narrowest_width", "widest_width", "resnet_blocks", "attention_blocks")
COSTS = ("parameters", "flops", "training_flops", "activation_bytes_training", "latency_ms")


class NotTracked(LookupError):
    """An entry has no run to show; the message says how it gets one."""


def view_state(run_ids: Sequence[str], metrics: Iterable[str]) -> dict[str, Any]:
    """The page's state: which runs it lists and which charts it shows.

    Args:
        run_ids: of the runs to list; none for all.
        metrics: names of all metrics that they have.
    """
    present = sorted(metrics)
    shown = [name for name in present if not name.endswith("_best")]
    # A level in its name makes a distance one of a training's curve.
    distances = [name for name in shown if is_distance(name) and "/" not in name]
    losses = ("held_out_v_loss/", "loss/")
    curves = [name for name in shown if "/" in name and (is_distance(name) or name.startswith(losses))]
    sections = [
        _section("distance", "Cost against distance", 3),
        _section("architecture", "Architecture", 1),
        _section("costs", "Costs", 3),
        _section("training", "Training", 3),
        _section("samples", "Samples", 1),
    ]
    charts = [_scatter("distance", cost, name) for name in distances for cost in ("log10_flops", "log10_parameters")]
    charts += [_bars("distance", name) for name in distances]
    charts.append(_parallel("architecture", [*CHOICES], ["log10_flops", *distances[:2]]))
    charts += [_bars("costs", name) for name in COSTS if name in present]
    charts += [_lines("training", name) for name in sorted(curves, key=_curve_order)]
    charts.append(_images("samples"))
    filled = {chart["metricSectionId"] for chart in charts}
    return {
        "searchFilter": _filter(run_ids),
        "orderByKey": "metrics.`flops`",
        "orderByAsc": True,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "datasetsFilter": [],
        "selectedColumns": [f"metrics.`{name}`" for name in ("parameters", "flops", *distances)],
        "runsHiddenMode": "SHOW_ALL",
        "runsPinned": [],
        "runsHidden": [],
        "runsVisibilityMap": {},
        "runsExpanded": {},
        "compareRunCharts": charts,
        "compareRunSections": [section for section in sections if section["uuid"] in filled],
        "isAccordionReordered": True,
        "viewMaximized": False,
        "runListHidden": False,
        "groupBy": None,
        "groupsExpanded": {},
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
        "autoRefreshEnabled": False,
        "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""},
    }


def store_view(client: Any, experiment: str, names: Sequence[str]) -> str:
    """Store the view of some entries, or of all, with the experiment, and return its key.

    Raises:
        NotTracked: an entry has not been tracked, or none has.
    """
    runs = [run for run in _search(client, experiment) if not names or run.data.tags.get("entry") in names]
    tracked = {run.data.tags.get("entry") for run in runs if run.data.tags.get("kind") == "entry"}
    missing = [name for name in names if name not in tracked]
    if missing or not tracked:
        what = f"not tracked yet: {', '.join(missing)}" if missing else "no entry has been tracked yet"
        raise NotTracked(f"{what}; first: {' '.join(['zoo track', *missing])}")
    chosen = [run.info.run_id for run in runs] if names else []
    state = view_state(chosen, {name for run in runs for name in run.data.metrics})
    text = json.dumps(state, separators=(",", ":"))
    packed = "deflate;" + base64.b64encode(zlib.compress(text.encode(), 9)).decode()
    value = text if len(text) <= MAX_TAG else packed
    if len(value) > MAX_TAG:
        raise ValueError("a view of so many runs is too large for MLflow; name fewer entries")
    key = "zoo-" + hashlib.sha256(",".join(names).encode()).hexdigest()[:12]
    client.set_experiment_tag(experiment, TAG + key, value)
    return key


def address(base: str, experiment: str, key: str) -> str:
    """The address of a stored view on a server."""
    # MLflow opens in its GenAI mode unless told otherwise.
    query = {"viewStateShareKey": key, "compareRunsMode": "CHART", "workflowType": "machine_learning"}
    return f"{base}/#/experiments/{experiment}/runs?{urlencode(query)}"


def _search(client: Any, experiment: str) -> Iterable[Any]:
    """All runs of the experiment, page by page."""
    token: str | None = None
    while True:
        page = client.search_runs([experiment], page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _filter(run_ids: Sequence[str]) -> str:
    """Runs by their identity: MLflow's filter has IN for attributes alone, not for tags."""
    return f"attributes.run_id IN ({', '.join(repr(run_id) for run_id in run_ids)})" if run_ids else ""


def _section(key: str, title: str, columns: int) -> dict[str, Any]:
    return {"uuid": key, "name": title, "display": True, "isReordered": True, "columns": columns, "cardHeight": 360}


def _card(kind: str, section: str, name: str, **more: Any) -> dict[str, Any]:
    return {
        "type": kind,
        "uuid": f"{section}-{kind.lower()}-{name}",
        "metricSectionId": section,
        "isGenerated": False,
        "deleted": False,
        "runsCountToCompare": 100,
        **more,
    }


def _scatter(section: str, x: str, y: str) -> dict[str, Any]:
    axes = {"xaxis": {"key": x, "type": "METRIC"}, "yaxis": {"key": y, "type": "METRIC"}}
    return _card("SCATTER", section, f"{x}-{y}", displayName=f"{x} against {y}", **axes)


def _bars(section: str, name: str) -> dict[str, Any]:
    return _card("BAR", section, name, metricKey=name, displayName=name)


def _lines(section: str, name: str) -> dict[str, Any]:
    return _card(
        "LINE",
        section,
        name,
        metricKey=name,
        selectedMetricKeys=[name],
        displayName=name,
        scaleType="log",
        xAxisKey="step",
        xAxisScaleType="linear",
        lineSmoothness=0,
        yAxisKey="metric",
        yAxisExpressions=[],
        useGlobalXaxisKey=True,
        useGlobalLineSmoothing=True,
        range={},
    )


def _parallel(section: str, params: Sequence[str], metrics: Sequence[str]) -> dict[str, Any]:
    chosen = {"selectedParams": list(params), "selectedMetrics": list(metrics), "showAllRuns": False}
    return _card("PARALLEL", section, "choices", displayName="Architecture choices", **chosen)


def _images(section: str) -> dict[str, Any]:
    return _card("IMAGE", section, "samples", imageKeys=["samples"], step=0, displayName="Samples", showRunParams=False)


def _curve_order(name: str) -> tuple[int, str, int]:
    """Distances, held-out losses, losses; finest level first."""
    kind, _, label = name.partition("/")
    digits = "".join(letter for letter in label if letter.isdigit())
    return ("held_out_v_loss", "loss").index(kind) + 1 if not is_distance(kind) else 0, kind, -int(digits or 0)
