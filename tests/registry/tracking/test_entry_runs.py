"""Runs of entries in MLflow: one per hash, found again, with measured distances only."""

from __future__ import annotations

import pytest

import zoo
from registry.evaluation import results
from registry.evaluation.results import save
from registry.facts import architecture_params, cost_metrics, kind_of
from registry.tracking import entry_runs
from registry.tracking.entry_runs import record_entry
from registry.tracking.store import connect, experiment_id
from specs.load import load_entry
from tests.helpers.measured import PROTOCOL, measurement

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def client(uri, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return connect(uri)


def runs(client):
    return client.search_runs([experiment_id(client)])


def metrics(client, run_id):
    return client.get_run(run_id).data.metrics


def test_twice_gives_the_same_run(client):
    first = record_entry(client, zoo.get("mdm-micro"), latency=lambda: 1.5)
    again = record_entry(client, zoo.get("mdm-micro"), latency=lambda: pytest.fail("it was timed before"))
    assert first.created and not again.created and again.added == 0
    assert first.run_id == again.run_id and len(runs(client)) == 1
    (run,) = runs(client)
    card = zoo.get("mdm-micro").card()
    assert run.data.metrics["flops"] == card.flops and run.data.metrics["params"] == card.parameters
    assert run.data.metrics["log10_flops"] == pytest.approx(7.28, abs=0.01)
    assert run.data.metrics["latency_ms"] == 1.5
    assert (run.info.run_name, run.info.status) == ("mdm-micro", "FINISHED")
    expected = {"kind": "entry", "output": "image", "family": "mdm", "conditioning": "classes", "hash": card.hash}
    assert expected.items() <= run.data.tags.items()
    assert "version.torch" in run.data.tags and "hardware" in run.data.tags
    assert run.data.params["levels"] == "2" and run.data.params["r16.stem_width"] == "16"
    names = {file.path for file in client.list_artifacts(first.run_id)}
    assert {"spec", "expanded.yaml", "card.md", "picture.png"} <= names


def test_a_run_of_an_earlier_version_is_completed(client, monkeypatch):
    old_names = {"params": "parameters", "log10_params": "log10_parameters"}
    with monkeypatch.context() as patch:
        old = {old_names.get(name, name): value for name, value in cost_metrics(zoo.get("mdm-micro").card()).items()}
        patch.setattr(entry_runs, "cost_metrics", lambda card: old)
        first = record_entry(client, zoo.get("mdm-micro"))
    assert "parameters" in metrics(client, first.run_id) and "params" not in metrics(client, first.run_id)
    again = record_entry(client, zoo.get("mdm-micro"))
    assert (again.run_id, again.created, again.added) == (first.run_id, False, 2) and len(runs(client)) == 1
    found = metrics(client, first.run_id)
    assert all(found[new] == found[old] for new, old in old_names.items())
    model = client.get_logged_model(client.get_run(first.run_id).data.tags["logged_model_id"])
    assert {"parameters", "params"} <= {metric.key for metric in model.metrics}
    assert record_entry(client, zoo.get("mdm-micro")).added == 0


def test_a_changed_spec_has_another_run(client, tmp_path):
    save(measurement("mdm-micro", 3.0))
    first = record_entry(client, zoo.get("mdm-micro"))
    edited = zoo.get("mdm-micro", ["stages.r16.width=24"])
    second = record_entry(client, edited)
    assert second.created and second.run_id != first.run_id
    assert metrics(client, first.run_id)["fd_made_up"] == 3.0
    # The old hash was measured, the new one was not.
    assert "fd_made_up" not in metrics(client, second.run_id)
    assert record_entry(client, zoo.get("mdm-micro")).run_id == first.run_id


def test_distances_last_and_best(client):
    for step, value in ((100, 5.0), (200, 2.0), (300, 4.0)):
        save(measurement("mdm-micro", value, weights=f"{step}", training_step=step))
    run_id = record_entry(client, zoo.get("mdm-micro")).run_id
    assert metrics(client, run_id)["fd_made_up"] == 4.0
    assert metrics(client, run_id)["fd_made_up_best"] == 2.0
    assert [(p.step, p.value) for p in client.get_metric_history(run_id, "fd_made_up")] == [
        (100, 5),
        (200, 2),
        (300, 4),
    ]
    # A later measurement is added to the same run, once.
    save(measurement("mdm-micro", 1.0, weights="400", training_step=400))
    assert record_entry(client, zoo.get("mdm-micro")).added == 4
    assert record_entry(client, zoo.get("mdm-micro")).added == 0
    assert metrics(client, run_id)["fd_made_up_best"] == 1.0


def test_protocols_never_share_a_name(client):
    save(measurement("mdm-micro", 3.0))
    other = PROTOCOL.model_copy(update={"samples": 7})
    save(measurement("mdm-micro", 9.0, protocol=other, weights="x"))
    # Nor do samplers, because their results cannot be compared.
    sampler = {"sampler": "dpm++", "num_inference_steps": 20, "guidance_scale": 3.0, "seed": 0}
    save(measurement("mdm-micro", 5.0, sampler=sampler, weights="y"))
    found = metrics(client, record_entry(client, zoo.get("mdm-micro")).run_id)
    names = [name for name in found if name.startswith("fd_made_up") and not name.endswith("_best")]
    assert sorted(found[name] for name in names) == [3.0, 5.0, 9.0] and "fd_made_up" in names
    assert {found[f"{name}_best"] == found[name] for name in names} == {True}
    # Another seed does not change the conditions.
    save(measurement("mdm-micro", 6.0, sampler=sampler | {"seed": 9}, weights="z", training_step=1))
    again = metrics(client, record_entry(client, zoo.get("mdm-micro")).run_id)
    assert set(again) == set(found)


def test_equal_entries_have_a_run_each(client):
    assert zoo.get("mdm-s64").hash == zoo.get("unet-s64").hash
    first, second = (record_entry(client, zoo.get(name)) for name in ("mdm-s64", "unet-s64"))
    assert second.created and first.run_id != second.run_id
    assert {run.info.run_name for run in runs(client)} == {"mdm-s64", "unet-s64"}
    assert record_entry(client, zoo.get("unet-s64")).run_id == second.run_id


@pytest.mark.parametrize("step", ["create_logged_model", "log_batch", "log_artifact", "set_terminated"])
def test_an_interrupted_recording_is_completed(client, monkeypatch, step):
    def fail(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(client, step, fail)
        with pytest.raises(KeyboardInterrupt):
            record_entry(client, zoo.get("mdm-micro"))
    run_id = record_entry(client, zoo.get("mdm-micro")).run_id
    (run,) = runs(client)
    assert run.info.status == "FINISHED" and run.data.params["levels"] == "2" and run.data.metrics["flops"] > 0
    assert {"spec", "expanded.yaml", "card.md", "picture.png"} <= {file.path for file in client.list_artifacts(run_id)}
    model = client.get_logged_model(run.data.tags["logged_model_id"])
    assert {m.key for m in model.metrics} >= {"flops"}


RECORD = """
import sys, zoo
from registry.tracking.entry_runs import record_entry
from registry.tracking.store import connect
record_entry(connect(sys.argv[1]), zoo.get("mdm-micro"))
"""


@pytest.mark.slow
def test_two_that_record_at_once_make_one_run(client, tmp_path):
    import subprocess
    import sys

    command = [sys.executable, "-c", RECORD, f"sqlite:///{tmp_path / 'mlflow.db'}"]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=120)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    (run,) = runs(client)
    assert len(client.get_metric_history(run.info.run_id, "flops")) == 1


def test_reported_numbers_are_tags_and_no_metrics(client):
    run_id = record_entry(client, zoo.get("mdm-s256.in1k")).run_id
    tags = client.get_run(run_id).data.tags
    assert tags["fid_reported"].startswith("3.77 on ImageNet, 256 pixels (a secondary summary")
    assert not any(name.startswith("fid") for name in metrics(client, run_id))


def test_logged_model_has_the_metrics(client):
    save(measurement("mdm-micro", 3.0))
    run_id = record_entry(client, zoo.get("mdm-micro")).run_id
    model = client.get_logged_model(client.get_run(run_id).data.tags["logged_model_id"])
    assert {m.key: m.value for m in model.metrics}["fd_made_up"] == 3.0
    assert model.params["levels"] == "2" and model.tags["entry"] == "mdm-micro"
    found = client.search_logged_models([experiment_id(client)], filter_string="metrics.fd_made_up < 4")
    assert [each.model_id for each in found] == [model.model_id]


def test_grids_are_logged(client):
    from PIL import Image

    path = save(measurement("mdm-micro", 3.0))
    Image.new("RGB", (8, 8)).save(path.with_suffix(".png"))
    run_id = record_entry(client, zoo.get("mdm-micro")).run_id
    assert any(file.path.startswith("images/samples") for file in client.list_artifacts(run_id, "images"))


@pytest.mark.parametrize("name", zoo.list())
def test_every_entry_has_numbers_and_choices(name):
    entry = zoo.get(name)
    assert all(value > 0 for value in cost_metrics(entry.card()).values())
    params = architecture_params(entry.architecture)
    assert int(params["levels"]) == len(entry.labels) and len(params) < 100


def test_choices_of_the_process():
    changes = ["process.noise.offset=0.1", "process.residual={r32: 0.2}"]
    params = architecture_params(load_entry("mdm-nano", overrides=changes).graph)
    assert (params["noise_offset"], params["residual"]) == ("0.1", "r32 0.2")
    shared = architecture_params(
        load_entry("mdm-nano", overrides=["process.noise.levels=shared", "process.residual=null"]).graph
    )
    assert shared["noise_levels"] == "shared" and not {"noise_offset", "residual"} & shared.keys()


def test_choices_of_clips():
    params = architecture_params(zoo.get("mdm-s64v").architecture)
    facts = {"frames": "16", "innermost_frames": "1", "level_labels": "r64f16, r64", "temporal_blocks": "24"}
    assert facts.items() <= params.items() and kind_of(zoo.get("mdm-s64v").architecture) == "video"
    assert "frames" not in architecture_params(zoo.get("mdm-s64").architecture)


def test_command(cli, monkeypatch, uri):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    code, out, err = cli("track", "mdm-micro", "-q")
    assert (code, out) == (0, "1 entries: 1 new runs, 11 new values\n"), err
    assert cli("track", "mdm-micro", "--no-latency", "-q")[1] == "1 entries: 0 new runs, 0 new values\n"
    assert "no entry is called" in cli("track", "mdm-mikro")[2]


def test_packaged_measurements_can_be_read():
    assert all(found.metrics for found in results.measurements([results._PACKAGED]))
