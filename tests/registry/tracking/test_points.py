"""Values of metrics in a run and its LoggedModel: several at one step, and models that were left empty."""

from __future__ import annotations

import pytest

import zoo
from registry.evaluation.results import save
from registry.tracking.entry_runs import record_entry
from registry.tracking.points import log_points
from registry.tracking.store import connect, experiment_id
from tests.helpers.measured import measurement


@pytest.fixture
def store(shared_uri, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return connect(shared_uri)


@pytest.fixture
def run(store):
    return store.create_run(experiment_id(store)).info.run_id


def model_of(store, run, **changes):
    return store.create_logged_model(experiment_id(store), name="m", source_run_id=run, **changes).model_id


def in_model(store, model):
    return {(each.key, each.value, each.step) for each in store.get_logged_model(model).metrics or ()}


POINTS = [("fd", 3.0, 0), ("fd", 5.0, 0), ("fd", 4.0, 0), ("fd", 1.0, 7), ("flops", 9.0, 0)]


def test_several_values_at_one_step(store, run):
    model = model_of(store, run)
    assert log_points(store, run, POINTS, model) == 5 and log_points(store, run, POINTS, model) == 0
    assert in_model(store, model) == set(POINTS)
    assert [point.value for point in store.get_metric_history(run, "fd") if point.step == 0] == [3.0, 5.0, 4.0]
    assert log_points(store, run, [("fd", 0.5, 7), ("fd", 1.0, 7)], model) == 1
    assert store.get_run(run).data.metrics["fd"] == 0.5


def test_the_last_value_is_shown_although_others_have_its_timestamp(store, run):
    from mlflow.entities import Metric

    model = model_of(store, run)
    store.log_batch(run, [Metric("fd", 5.0, 1000, 0), Metric("fd", 3.0, 1000, 0)])
    assert store.get_run(run).data.metrics["fd"] == 5.0
    for _ in range(2):
        assert log_points(store, run, [("fd", 5.0, 0), ("fd", 3.0, 0)], model) == 0
        assert store.get_run(run).data.metrics["fd"] == 3.0
    assert len(store.get_metric_history(run, "fd")) == 3
    assert ("fd", 3.0, 0) in in_model(store, model)


def test_an_emptied_model_is_filled(store, run):
    model = model_of(store, run)
    log_points(store, run, POINTS, None)
    store.log_metric(run, "of another version", 2.0)
    assert not in_model(store, model)
    assert log_points(store, run, POINTS[:1], model) == 0
    assert in_model(store, model) == {*POINTS, ("of another version", 2.0, 0)}


def test_two_measurements_under_equal_conditions(store):
    for day, value in ((1, 3.0), (2, 2.0)):
        save(measurement("doll-n32", value, weights=f"{day}", date=f"2026-01-0{day}T00:00:00+00:00"))
    first = record_entry(store, zoo.get("doll-n32"))
    again = record_entry(store, zoo.get("doll-n32"))
    assert (again.run_id, again.added) == (first.run_id, 0)
    run = store.get_run(first.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.metrics["fd_made_up"] == run.data.metrics["fd_made_up_best"] == 2.0
    model = store.get_logged_model(run.data.tags["logged_model_id"])
    assert model.status.name == "READY" and {each.key for each in model.metrics} == set(run.data.metrics)


def test_a_deleted_model_is_created_again(store):
    first = record_entry(store, zoo.get("mdm-micro"))
    tags = store.get_run(first.run_id).data.tags
    store.delete_logged_model(tags["logged_model_id"])
    assert record_entry(store, zoo.get("mdm-micro")).run_id == first.run_id
    run = store.get_run(first.run_id)
    assert run.data.tags["logged_model_id"] != tags["logged_model_id"]
    assert {each[0] for each in in_model(store, run.data.tags["logged_model_id"])} == set(run.data.metrics)


def test_params_of_another_version_do_not_stop_a_recording(store, monkeypatch):
    def fail(*args, **kwargs):
        raise KeyboardInterrupt

    entry = zoo.get("mdm-nano")
    with monkeypatch.context() as patch:
        patch.setattr("registry.tracking.entry_runs.architecture_params", lambda graph: {"levels": "three"})
        patch.setattr(store, "set_terminated", fail)
        with pytest.raises(KeyboardInterrupt):
            record_entry(store, entry)
    run = store.get_run(record_entry(store, entry).run_id)
    assert run.data.params["levels"] == "three" and run.data.params["r16.blocks"] and run.info.status == "FINISHED"
