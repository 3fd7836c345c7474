"""A study of arms on MLflow's page: its arms as groups, its seeds as runs, with bands over the seeds.

``registry.tracking.dashboard_view`` says how MLflow stores views.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Any

from registry.tracking.dashboard_view import (
    NotTracked,
    chart,
    curve_names,
    page_template,
    search_all,
    store_state,
)

__all__ = ["MEASURE", "store_study_view", "study_view_state"]

#: Start of the names of measures in MLflow.
MEASURE = "study/"
#: Tag of a run: its arm.
ARM = "arm"
#: A measure at a number, such as study/p1/-5; a chart of each would be too many.
_AT_NUMBER = re.compile(r".+/-?\d+(\.\d+)?")
SECTIONS = (("measures", "Measures: means over seeds", 3), ("training", "Training: means and ranges over seeds", 3))


def study_view_state(name: str, metrics: Iterable[str], exploratory: bool = False) -> dict[str, Any]:
    """Return the page's state: the runs of a study in groups by arm, and charts of their measures and curves.

    Args:
        name: Name of the study.
        metrics: Names of all metrics that its runs have.
        exploratory: Whether to show its exploratory runs instead of those that are registered.
    """
    present = set(metrics)
    measures = sorted(each for each in present if each.startswith(MEASURE) and not _AT_NUMBER.fullmatch(each))
    charts = [chart("BAR", "measures", each, each.removeprefix(MEASURE), metricKey=each) for each in measures]
    curves = curve_names({each for each in present if not each.startswith(MEASURE)})
    charts += [chart("LINE", "training", each, each, metricKey=each, selectedMetricKeys=[each]) for each in curves]
    filled = {each["metricSectionId"] for each in charts}
    template = page_template()
    sections = [
        template["section"] | {"uuid": key, "name": title, "columns": columns}
        for key, title, columns in SECTIONS
        if key in filled
    ]
    return template["page"] | {
        "searchFilter": _filter(name, exploratory),
        "orderByKey": "attributes.start_time",
        "groupBy": {"aggregateFunction": "average", "groupByKeys": [{"mode": "tag", "groupByData": ARM}]},
        "selectedColumns": [f"tags.`{tag}`" for tag in (ARM, "seed")] + [f"metrics.`{each}`" for each in measures],
        "compareRunCharts": charts,
        "compareRunSections": sections,
    }


def store_study_view(client: Any, experiment: str, name: str) -> str:
    """Store a view of a study with the experiment, and return its key.

    It shows the registered runs; if there are none, those that are exploratory.

    Args:
        client: MLflow client of the store.
        experiment: Identifier of the experiment.
        name: Name of the study.

    Raises:
        NotTracked: No run of the study has been tracked.
    """
    for exploratory in (False, True):
        metrics = [set(run.data.metrics) for run in search_all(client, experiment, _filter(name, exploratory))]
        if metrics:
            break
    else:
        raise NotTracked(
            f"no run of the study {name} has been tracked; run 'zoo study {name}', or 'zoo track --study {name}' if it "
            "has results"
        )
    key = "zoo-study-" + hashlib.sha256(name.encode()).hexdigest()[:12]
    store_state(client, experiment, key, study_view_state(name, set().union(*metrics), exploratory))
    return key


def _filter(name: str, exploratory: bool) -> str:
    """Return a filter of the runs of a study without those of its search; names of studies have no quotes."""
    return f"tags.study = '{name}' AND tags.`study.part` = 'main' AND tags.exploratory = '{exploratory}'"
