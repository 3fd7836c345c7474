"""Results of a study as runs in MLflow: each once, with the tags, measures and curves of a tracked run."""

from __future__ import annotations

import pytest

from registry.study_report.logged import log_results, study_tags
from registry.study_runs.results import RunKey
from registry.tracking.store import connect, sqlite_uri
from tests.helpers.made_up_study import made_up_result, made_up_study

RESULTS = [made_up_result("nested", 0), made_up_result("flat", 0)]


@pytest.fixture
def store(tmp_path, monkeypatch):
    uri = sqlite_uri(tmp_path / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    client = connect(uri, print)
    return client, client.create_experiment("studies")


def tracked(client, experiment, **changes):
    """A run of the training of the first result."""
    tags = study_tags(made_up_study(), RunKey(arm="nested", seed=0), None, exploratory=False)
    return client.create_run(
        experiment, tags=tags | {"kind": "training", "hash": RESULTS[0].hash} | changes
    ).info.run_id


def test_results_are_logged_once(store):
    client, experiment = store
    assert log_results(client, experiment, made_up_study(), RESULTS[:1]) == 1
    assert log_results(client, experiment, made_up_study(), RESULTS) == 1
    assert log_results(client, experiment, made_up_study(), RESULTS) == 0
    found = {run.info.run_name: run for run in client.search_runs([experiment])}
    assert found.keys() == {"made-up-nested-s0", "made-up-flat-s0"}
    run, result = found["made-up-nested-s0"], RESULTS[0]
    expected = {"kind": "result", "arm": "nested", "seed": "0", "study.part": "main", "exploratory": "False"}
    assert expected.items() <= run.data.tags.items() and run.info.status == "FINISHED"
    assert run.data.metrics["study/p1/-5"] == result.measures["p1/-5"]
    assert run.info.end_time - run.info.start_time == 160_000
    curve = client.get_metric_history(run.info.run_id, "val_v_loss/r32")
    assert [(each.step, each.value) for each in curve] == list(zip(
        result.curves["val_v_loss/r32"].steps, result.curves["val_v_loss/r32"].values, strict=True
    ))  # fmt: skip


def test_a_run_that_was_tracked_in_training_is_not_logged_again(store):
    client, experiment = store
    run = tracked(client, experiment)
    client.log_metric(run, "study/p1", 0.5)
    assert log_results(client, experiment, made_up_study(), RESULTS[:1]) == 0


def test_a_training_that_was_not_measured_receives_its_result(store):
    client, experiment = store
    run = tracked(client, experiment)
    assert log_results(client, experiment, made_up_study(), RESULTS[:1]) == 1
    assert client.get_run(run).data.metrics["study/p1"] == RESULTS[0].measures["p1"]
    assert log_results(client, experiment, made_up_study(), RESULTS[:1]) == 0
    assert len(client.search_runs([experiment])) == 1


def test_a_training_of_another_entry_is_another_run(store):
    client, experiment = store
    tracked(client, experiment, hash="older")
    assert log_results(client, experiment, made_up_study(), RESULTS[:1]) == 1
    assert len(client.search_runs([experiment])) == 2


def test_a_failed_run_that_was_repeated(store):
    client, experiment = store
    for why, date in (("too slow", "2026-11-25T20:00:00+00:00"), ("not finite", "2026-11-25T21:00:00+00:00")):
        failed = RESULTS[0].model_copy(update={"status": "failed", "failure": why, "measures": {}, "date": date})
        assert log_results(client, experiment, made_up_study(), [failed]) == 1
        (run,) = client.search_runs([experiment])
        assert run.info.status == "FAILED" and run.data.tags["failure"] == why
    assert log_results(client, experiment, made_up_study(), RESULTS[:1]) == 1
    (run,) = client.search_runs([experiment])
    assert "failure" not in run.data.tags and run.info.end_time - run.info.start_time < 3600_000
    assert run.info.status == "FINISHED" and run.data.metrics["study/p1"] == RESULTS[0].measures["p1"]
    assert log_results(client, experiment, made_up_study(), RESULTS[:1]) == 0


def test_what_an_interrupted_call_left_is_completed(store, monkeypatch):
    client, experiment = store
    with monkeypatch.context() as patch:
        patch.setattr("registry.study_report.logged.log_metrics", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            log_results(client, experiment, made_up_study(), RESULTS)
    assert log_results(client, experiment, made_up_study(), RESULTS) == 2
    found = client.search_runs([experiment])
    assert len(found) == 2 and all("study/p1" in run.data.metrics for run in found)


def test_runs_of_a_search_and_failed_runs(store):
    client, experiment = store
    study = made_up_study(search={"set": "ema", "values": [0.5, 0.9], "seeds": [8], "by": "p1"})
    tried = [made_up_result("flat", 8, searched=place, setting=value) for place, value in ((0, 0.5), (1, 0.9))]
    failed = made_up_result("flat", 0, setting=0.5, status="failed", failure="not finite", measures={})
    assert log_results(client, experiment, study, [*tried, failed]) == 3
    assert log_results(client, experiment, study, [*tried, failed]) == 0
    found = {run.info.run_name: run for run in client.search_runs([experiment])}
    assert found["made-up-flat-v1-s8"].data.tags["ema"] == "0.9"
    assert found["made-up-flat-v1-s8"].data.tags["study.part"] == "search"
    last = found["made-up-flat-s0"]
    assert last.info.status == "FAILED" and last.data.tags["failure"] == "not finite"
