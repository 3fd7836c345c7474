"""The experiment of runs: an option wins over variables, and these over the default."""

from __future__ import annotations

import pytest

from registry.tracking.observer import MLflowObserver
from registry.tracking.resend import send_spool
from registry.tracking.stores.addresses import StoreError
from registry.tracking.stores.experiments import EXPERIMENT, Experiment, chosen_experiment, experiment_id
from tests.helpers.tracking_stores import client, facts, run_of

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch):
    for name in ("MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID", "MLFLOW_RUN_NAME", "MLFLOW_RUN_ID"):
        monkeypatch.delenv(name, raising=False)


def test_what_wins(monkeypatch):
    assert chosen_experiment() == Experiment(EXPERIMENT)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "7")
    assert chosen_experiment() == Experiment(None, "7")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", " mine ")
    assert chosen_experiment() == Experiment("mine", "7")
    assert chosen_experiment("option") == Experiment("option")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "")
    assert chosen_experiment() == Experiment("mine")


def test_identifiers_in_a_store(shared_uri):
    store = client(shared_uri)
    mine = experiment_id(store, Experiment("mine"))
    assert mine == experiment_id(store, Experiment("mine")) == experiment_id(store, Experiment("mine", mine))
    assert experiment_id(store, Experiment(None, mine)) == mine
    store.delete_experiment(mine)
    assert experiment_id(store, Experiment("mine")) == mine
    assert store.get_experiment(mine).lifecycle_stage == "active"
    other = experiment_id(store, Experiment())
    with pytest.raises(StoreError, match=f"is {other}, the id of the experiment 'matryoshka-zoo', but .* is 'mine'"):
        experiment_id(store, Experiment("mine", other))
    for wrong in ("999", "no such id"):
        with pytest.raises(StoreError, match=f"no experiment with the id {wrong}"):
            experiment_id(store, Experiment(None, wrong))


def test_a_training_and_what_is_sent_later(shared_uri, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", shared_uri)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "by variable")
    monkeypatch.setenv("MLFLOW_RUN_NAME", "my run")
    warnings: list[str] = []
    MLflowObserver(warn=warnings.append).on_end("finished")  # never started
    monkeypatch.setenv("MLFLOW_RUN_ID", "abc")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    observer = MLflowObserver(warn=warnings.append, patience=0.2)
    observer.on_start(facts(tmp_path))
    observer.log_metrics({"value": 1.0}, 1)
    observer.on_end("finished")
    assert "MLFLOW_RUN_ID is ignored" in warnings[0]
    observer._sending.close(10)
    # The variables of the training count, not those of the command that sends it.
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME")
    assert send_spool(tmp_path, shared_uri).complete
    run = run_of(shared_uri, tmp_path)
    assert run.info.run_name == "my run"
    assert client(shared_uri).get_experiment(run.info.experiment_id).name == "by variable"


def test_the_option_of_track_and_dashboard(shared_uri, cli, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", shared_uri)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "by variable")
    for options, name in (((), "by variable"), (("--experiment", "by option"), "by option")):
        code, out, err = cli("track", "mdm-micro", "--no-latency", "-q", *options)
        assert (code, err) == (0, "") and out.startswith("1 entries: 1 new runs")
        experiment = client(shared_uri).get_experiment_by_name(name)
        assert len(client(shared_uri).search_runs([experiment.experiment_id], "tags.kind = 'entry'")) == 1
    code, _, err = cli("dashboard", "--print-url", "--experiment", "empty")
    assert code == 2 and "no entry has been tracked yet" in err
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "999")
    code, _, err = cli("track", "mdm-micro", "-q")
    assert code == 2 and "999" in err and err.count("\n") == 1
