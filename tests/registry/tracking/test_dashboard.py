"""The dashboard's view: what it holds, how it is stored, and that MLflow's page shows it."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import zlib
from pathlib import Path

import pytest

import zoo
from registry.evaluation.results import save
from registry.tracking.dashboard_view import address, store_view, view_state
from registry.tracking.entry_runs import record_entry
from registry.tracking.store import connect, experiment_id
from tests.helpers.measured import measurement

pytestmark = pytest.mark.filterwarnings("ignore")
METRICS = ["params", "flops", "log10_flops", "log10_params", "fd_made_up", "fd_made_up_best", "kid_made_up"]
CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)


@pytest.fixture(scope="module")
def store(shared_uri):
    folder = Path(shared_uri.removeprefix("sqlite:///")).parent
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        client = connect(shared_uri)
        for name, value in (("mdm-micro", 3.0), ("doll-n32", 2.0)):
            save(measurement(name, value))
            record_entry(client, zoo.get(name))
    return folder, client


def test_state():
    state = view_state(["abc"], [*METRICS, "val_v_loss/r16", "loss/r16"])
    kinds = [chart["type"] for chart in state["compareRunCharts"]]
    assert kinds.count("SCATTER") == 4 and {"BAR", "PARALLEL", "LINE", "IMAGE"} <= set(kinds)
    sections = {section["uuid"] for section in state["compareRunSections"]}
    assert {chart["metricSectionId"] for chart in state["compareRunCharts"]} == sections
    identities = [chart["uuid"] for chart in state["compareRunCharts"]]
    assert len(identities) == len(set(identities))
    assert state["searchFilter"] == "attributes.run_id IN ('abc')" and state["runsHiddenMode"] == "SHOW_ALL"


def test_runs_of_earlier_versions_share_charts():
    state = view_state([], ["parameters", "held_out_v_loss/r16", "held_out_v_loss/r16_best", "val_v_loss/r16"])
    names = [chart.get("metricKey") for chart in state["compareRunCharts"]]
    assert names.count("params") == names.count("val_v_loss/r16") == 1
    assert not {"parameters", "held_out_v_loss/r16"} & set(names)


def test_metrics_that_no_run_has_get_no_chart():
    state = view_state([], ["params", "flops"])
    assert not [chart for chart in state["compareRunCharts"] if chart["type"] in ("SCATTER", "LINE")]
    assert "training" not in {section["uuid"] for section in state["compareRunSections"]}


def test_stored_view(store):
    _, client = store
    experiment = experiment_id(client)
    key = store_view(client, experiment, ["mdm-micro", "doll-n32"])
    assert key == store_view(client, experiment, ["mdm-micro", "doll-n32"]) != store_view(client, experiment, [])
    value = client.get_experiment(experiment).tags[f"mlflow.sharedViewState.{key}"]
    if value.startswith("deflate;"):
        value = zlib.decompress(base64.b64decode(value.removeprefix("deflate;"))).decode()
    state = json.loads(value)
    assert any(chart["type"] == "SCATTER" for chart in state["compareRunCharts"])
    where = address("http://127.0.0.1:5000", experiment, key)
    assert where == (
        f"http://127.0.0.1:5000/#/experiments/{experiment}/runs?viewStateShareKey={key}"
        "&compareRunsMode=CHART&workflowType=machine_learning"
    )


def test_runs_of_earlier_versions_get_current_names(store):
    _, client = store
    experiment = experiment_id(client)
    entry = zoo.get("mdm-micro")
    tags = {"kind": "entry", "entry": entry.name, "hash": "0" * 16}
    old = client.create_run(experiment, tags=tags).info.run_id
    client.log_metric(old, "parameters", 5.0)
    tags = {"kind": "training", "entry": entry.name, "hash": "0" * 16}
    training = client.create_run(experiment, tags=tags).info.run_id
    client.log_metric(training, "held_out_v_loss/r16", 0.5, step=3)
    store_view(client, experiment, ["mdm-micro"])
    assert {run.info.run_id for run in client.search_runs([experiment], "metrics.params = 5")} == {old}
    assert [point.step for point in client.get_metric_history(training, "val_v_loss/r16")] == [3]


def test_what_is_not_tracked(store):
    _, client = store
    with pytest.raises(LookupError, match="not tracked yet: mdm-nano; run 'zoo track mdm-nano' first"):
        store_view(client, experiment_id(client), ["mdm-micro", "mdm-nano"])


def test_nothing_tracked(uri, cli, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    code, _, err = cli("dashboard", "--print-url")
    assert (code, err) == (2, "error: no entry has been tracked yet; run 'zoo track' first\n")
    assert "no entry is called 'mdm-mikro'" in cli("dashboard", "mdm-mikro")[2]
    assert cli("dashboard", "--stop")[1] == "no page of this store is running\n"


def test_studies_that_are_not_tracked(uri, cli, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    code, _, err = cli("dashboard", "--study", "E", "--print-url")
    advice = "run 'zoo study E', or 'zoo track --study E' if it has results"
    assert (code, err) == (2, f"error: no run of the study E has been tracked; {advice}\n")
    assert "not tracked yet: flat-n32, " in cli("dashboard", "--study", "n32", "--print-url")[2]
    assert "no study is called 'EE'" in cli("dashboard", "--study", "EE")[2]
    assert cli("dashboard", "mdm-micro", "--study", "E")[2] == "error: --study takes no entries\n"


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_in_a_browser(store, cli, monkeypatch, tmp_path):
    folder, _ = store
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
    code, out, err = cli("dashboard", "mdm-micro", "doll-n32", "--print-url")
    assert code == 0, err
    try:
        # The page that runs is found again.
        assert cli("dashboard", "mdm-micro", "doll-n32", "--print-url")[1] == out
        page = page_of(out.strip(), tmp_path)
        for words in ("Cost against distance", "fd_made_up", "Architecture", "doll-n32", "mdm-micro", "scatterlayer"):
            assert words in page, words
        assert "parcoords" in page and "Error loading shared view" not in page
    finally:
        assert cli("dashboard", "--stop")[1] == "stopped\n"


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_a_study_in_a_browser(uri, cli, monkeypatch, tmp_path):
    """The arms are groups: the page draws one line and one bar for each, and no run of anything else."""
    client = connect(uri)
    experiment = experiment_id(client)
    for arm in ("nested", "flat"):
        for seed in range(3):
            tags = {"study": "E", "study.part": "main", "exploratory": "False", "arm": arm, "seed": str(seed)}
            run = client.create_run(experiment, run_name=f"{arm}-s{seed}", tags=tags).info.run_id
            client.log_metric(run, "study/p1", 0.1 + seed / 100)
            for step in (1, 2, 3):
                client.log_metric(run, "val_v_loss/r32", 1 / (step + seed), step=step)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    code, out, err = cli("dashboard", "--study", "E", "--print-url")
    assert code == 0, err
    try:
        page = page_of(out.strip(), tmp_path / "profile")
    finally:
        cli("dashboard", "--stop")
    for words in (
        "Measures: means over seeds",
        "Training: means and ranges over seeds",
        "Group: nested",
        "Group: flat",
    ):
        assert words in page, words
    assert "Error loading shared view" not in page


def page_of(address, profile):
    """The page at an address, as Chromium shows it."""
    assert CHROMIUM is not None
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--dump-dom"]
    command += ["--window-size=1920,3000", "--virtual-time-budget=40000", f"--user-data-dir={profile}", address]
    return subprocess.run(command, capture_output=True, text=True, timeout=180).stdout


def test_clips_and_their_motions_have_charts():
    metrics = ["params", "log10_flops", "log10_params", "fd_changes_made_up", "motion_share", "motion_share_reference"]
    state = view_state(
        [], [*metrics, "val_v_loss/r64", "val_v_loss/r32f8", "val_v_loss/r32", "fd_changes_made_up/r32f8"]
    )
    charts = state["compareRunCharts"]
    assert [c["metricKey"] for c in charts if c["type"] == "BAR" and c["metricSectionId"] == "distance"] == [
        "fd_changes_made_up", "motion_share", "motion_share_reference",
    ]  # fmt: skip
    assert "metrics.`motion_share`" in state["selectedColumns"]
    assert [chart["metricKey"] for chart in charts if chart["type"] == "LINE"] == [
        "fd_changes_made_up/r32f8", "val_v_loss/r64", "val_v_loss/r32f8", "val_v_loss/r32",
    ]  # fmt: skip
