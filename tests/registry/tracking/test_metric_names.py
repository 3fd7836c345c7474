"""Names of metrics: plain for the conditions logged first, with a key for all others, and names of earlier versions."""

from __future__ import annotations

import pytest

from registry.evaluation.results import keyed
from registry.tracking.metric_names import MetricNames, copy_renamed, current_name
from registry.tracking.observer import MLflowObserver
from registry.tracking.store import connect, experiment_id
from tests.helpers.tracking_stores import client, facts, run_of

FIRST, OTHER = "a" * 12, "b" * 12


def test_the_first_conditions_have_the_plain_name(uri):
    store = connect(uri)
    experiment = experiment_id(store)
    names = MetricNames(store, experiment)
    assert names.name(keyed("fid", FIRST)) == "fid" and names.name(keyed("fid", OTHER)) == f"fid-{OTHER}"
    # Levels have resolutions of their own, and so conditions of their own; the best goes with the values.
    assert names.name(keyed("kid_x", OTHER, "r16")) == "kid_x/r16"
    assert names.name(keyed("kid_x", OTHER, "r16") + "_best") == "kid_x/r16_best"
    assert names.name(keyed("kid_x", FIRST, "r16") + "_best") == f"kid_x-{FIRST}/r16_best"
    # Another process finds the same owner.
    again = MetricNames(store, experiment)
    assert again.name(keyed("fid", FIRST)) == "fid" and again.name(keyed("fid", OTHER)) == f"fid-{OTHER}"
    assert again.name("loss/r16") == "loss/r16" and again.name("training/learning_rate") == "training/learning_rate"


def test_trainings_measured_differently_never_share_a_name(uri, tmp_path, monkeypatch, quick):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    found = []
    for number, key in enumerate((FIRST, OTHER)):
        folder = tmp_path / f"run{number}"
        observer = MLflowObserver(patience=60)
        observer.on_start(facts(folder))
        observer.log_metrics({keyed("kid_x", key, "r16"): 0.5, "loss/r16": 1.0}, 1)
        observer.on_end("finished")
        found.append({name for name in run_of(uri, folder).data.metrics if not name.startswith("per_level")})
    assert found == [{"kid_x/r16", "loss/r16"}, {f"kid_x-{OTHER}/r16", "loss/r16"}]
    assert len(client(uri).search_runs(["1"], "metrics.`kid_x/r16` < 1")) == 1


def test_plain_names_of_an_earlier_version_keep_their_owner(uri):
    """In version 0.1 a tag covered all metrics of some features, and had the key of their protocol only."""
    store = connect(uri)
    experiment = experiment_id(store)
    for features in ("efficientnet_lite0", "inception"):
        store.set_experiment_tag(experiment, f"zoo.protocol.{features}", OTHER)
    names = MetricNames(store, experiment)
    for name in ("kid_efficientnet_lite0", "fd_efficientnet_lite0", "fid", "kid"):
        assert names.name(keyed(name, FIRST)) == f"{name}-{FIRST}"
        assert names.name(keyed(name, FIRST, "r16")) == f"{name}-{FIRST}/r16"
    assert names.name(keyed("kid_timm_other", FIRST)) == "kid_timm_other"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("parameters", "params"),
        ("log10_parameters", "log10_params"),
        ("per_level/parameters.whole", "per_level/params.whole"),
        ("held_out_v_loss/r64", "val_v_loss/r64"),
        ("held_out_v_loss/r64_best", "val_v_loss/r64_best"),
    ],
)
def test_names_of_earlier_versions(old, new):
    assert current_name(old) == current_name(new) == new


@pytest.mark.parametrize("name", ["flops", "fid", "loss/r8", "parameters_of_mine", "per_level/macs.r8"])
def test_all_other_names_stay(name):
    assert current_name(name) == name


def test_metrics_of_an_earlier_version_are_copied_once(uri, monkeypatch):
    store = connect(uri)
    run_id = store.create_run(experiment_id(store)).info.run_id
    for step in range(1, 6):
        store.log_metric(run_id, "held_out_v_loss/r8", 1 / step, timestamp=1000 + step, step=step)
    for step in (4, 5, 6):  # resumed from step 3 by this version
        store.log_metric(run_id, "val_v_loss/r8", 2 / step, timestamp=2000 + step, step=step)
    copy_renamed(store, store.get_run(run_id))
    expected = [(1000 + step, step, 1 / step) for step in (1, 2, 3)]
    expected += [(2000 + step, step, 2 / step) for step in (4, 5, 6)]
    points = store.get_metric_history(run_id, "val_v_loss/r8")
    assert sorted((point.timestamp, point.step, point.value) for point in points) == expected
    assert store.get_run(run_id).data.metrics["val_v_loss/r8"] == 2 / 6
    assert len(store.get_metric_history(run_id, "held_out_v_loss/r8")) == 5
    monkeypatch.setattr(type(store), "log_batch", lambda *args, **options: pytest.fail("copied twice"))
    copy_renamed(store, store.get_run(run_id))
