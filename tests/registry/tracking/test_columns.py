"""Names of measured metrics in a store: plain for the first conditions, with their key for all others."""

from __future__ import annotations

from registry.evaluation.results import keyed
from registry.tracking.metric_names import Columns
from registry.tracking.observer import MLflowObserver
from registry.tracking.store import connect, experiment_id
from tests.helpers.tracking_stores import client, facts, run_of

FIRST, OTHER = "a" * 12, "b" * 12


def test_the_first_conditions_have_the_plain_name(tmp_path):
    store = connect(f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = experiment_id(store)
    columns = Columns(store, experiment)
    assert columns.name(keyed("fid", FIRST)) == "fid" and columns.name(keyed("fid", OTHER)) == f"fid-{OTHER}"
    # Levels have resolutions of their own, and so conditions of their own; the best goes with the values.
    assert columns.name(keyed("kid_x", OTHER, "r16")) == "kid_x/r16"
    assert columns.name(keyed("kid_x", OTHER, "r16") + "_best") == "kid_x/r16_best"
    assert columns.name(keyed("kid_x", FIRST, "r16") + "_best") == f"kid_x-{FIRST}/r16_best"
    # Another process finds the same.
    again = Columns(store, experiment)
    assert again.name(keyed("fid", FIRST)) == "fid" and again.name(keyed("fid", OTHER)) == f"fid-{OTHER}"
    assert again.name("loss/r16") == "loss/r16" and again.name("training/learning_rate") == "training/learning_rate"


def test_trainings_measured_otherwise_never_share_a_column(tmp_path, monkeypatch):
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    found = []
    for number, key in enumerate((FIRST, OTHER)):
        folder = tmp_path / f"run{number}"
        told = MLflowObserver(patience=60)
        told.on_start(facts(folder))
        told.log_metrics({keyed("kid_x", key, "r16"): 0.5, "loss/r16": 1.0}, 1)
        told.on_end("finished")
        found.append({name for name in run_of(uri, folder).data.metrics if not name.startswith("per_level")})
    assert found == [{"kid_x/r16", "loss/r16"}, {f"kid_x-{OTHER}/r16", "loss/r16"}]
    assert len(client(uri).search_runs(["1"], "metrics.`kid_x/r16` < 1")) == 1


def test_plain_names_of_an_earlier_version_stay_whose_they_are(tmp_path):
    """There a tag was for all metrics of some features, and named their protocol alone."""
    store = connect(f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = experiment_id(store)
    for features in ("efficientnet_lite0", "inception"):
        store.set_experiment_tag(experiment, f"zoo.protocol.{features}", OTHER)
    columns = Columns(store, experiment)
    for name in ("kid_efficientnet_lite0", "fd_efficientnet_lite0", "fid", "kid"):
        assert columns.name(keyed(name, FIRST)) == f"{name}-{FIRST}"
        assert columns.name(keyed(name, FIRST, "r16")) == f"{name}-{FIRST}/r16"
    assert columns.name(keyed("kid_timm_other", FIRST)) == "kid_timm_other"
