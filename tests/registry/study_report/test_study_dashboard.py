"""The dashboard of a study: which runs and charts its view has, and where it is stored."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from registry.study_report.dashboard import store_study_view, study_view_state
from registry.tracking.dashboard_view import NotTracked

MAIN = "tags.study = 'A' AND tags.`study.part` = 'main' AND tags.exploratory = 'False'"
METRICS = ["study/p1", "study/p1/-5", "study/p2/fd", "val_v_loss/r32", "loss/r32", "val_v_loss/r32_best", "params"]


def test_arms_are_groups_of_runs():
    state = study_view_state("A", METRICS)
    assert state["groupBy"] == {"aggregateFunction": "average", "groupByKeys": [{"mode": "tag", "groupByData": "arm"}]}
    assert state["searchFilter"] == MAIN and state["useGroupedValuesInCharts"]
    assert state["selectedColumns"] == [
        "tags.`arm`", "tags.`seed`", "metrics.`study/p1`", "metrics.`study/p2/fd`"
    ]  # fmt: skip


def test_charts_of_measures_and_curves():
    state = study_view_state("A", METRICS)
    charts = [(chart["type"], chart["displayName"], chart["metricKey"]) for chart in state["compareRunCharts"]]
    assert charts == [
        ("BAR", "p1", "study/p1"),
        ("BAR", "p2/fd", "study/p2/fd"),
        ("LINE", "val_v_loss/r32", "val_v_loss/r32"),
        ("LINE", "loss/r32", "loss/r32"),
    ]
    assert [section["uuid"] for section in state["compareRunSections"]] == ["measures", "training"]


def test_sections_without_charts_are_left_out():
    sections = study_view_state("A", ["study/p1"])["compareRunSections"]
    assert [section["uuid"] for section in sections] == ["measures"]


class Client:
    """A store with two pages of runs of one study."""

    def __init__(self, text=MAIN):
        self.tags, self.text = {}, text
        self.pages = {None: (["study/p1"], "more"), "more": (["loss/r32"], None)}

    def search_runs(self, experiments, text, page_token=None):
        assert experiments == ["7"]
        names, token = self.pages[page_token] if text == self.text else ([], None)
        runs = [SimpleNamespace(data=SimpleNamespace(metrics=dict.fromkeys(names, 1.0)))] if names else []

        class Page(list):
            pass

        page = Page(runs)
        page.token = token
        return page

    def set_experiment_tag(self, experiment, name, value):
        self.tags[experiment, name] = value


def test_stored_view_has_the_metrics_of_all_runs():
    client = Client()
    key = store_study_view(client, "7", "A")
    state = json.loads(client.tags["7", f"mlflow.sharedViewState.{key}"])
    assert [chart["metricKey"] for chart in state["compareRunCharts"]] == ["study/p1", "loss/r32"]


def test_exploratory_runs_are_shown_if_there_are_no_others():
    client = Client(MAIN.replace("False", "True"))
    key = store_study_view(client, "7", "A")
    state = json.loads(client.tags["7", f"mlflow.sharedViewState.{key}"])
    assert state["searchFilter"] == client.text and len(state["compareRunCharts"]) == 2


def test_a_study_that_was_not_tracked():
    with pytest.raises(
        NotTracked, match="no run of the study B has been tracked; run 'zoo study B', or 'zoo track --s"
    ):
        store_study_view(Client(), "7", "B")
