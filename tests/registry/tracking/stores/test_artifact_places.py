"""Stores that were moved or copied: detected, reported, followed by new runs, and repaired on request."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import zoo
from registry.tracking.entry_runs import record_entry
from registry.tracking.observer import MLflowObserver
from registry.tracking.resend import send_spool
from registry.tracking.store import connect, experiment_id
from registry.tracking.stores.addresses import sqlite_uri
from registry.tracking.stores.artifact_places import follow_store, repair_store
from tests.helpers.tracking_stores import client, facts

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture
def project(empty_store, tmp_path, monkeypatch) -> Path:
    """A project with a store that has an entry and a run with a file."""
    folder = tmp_path / "old % place"
    folder.mkdir()
    shutil.copy(empty_store, folder / "mlflow.db")
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    client = connect(sqlite_uri("mlflow.db"))
    run = client.create_run(experiment_id(client)).info.run_id
    client.log_text(run, "old", "old.txt")
    client.create_logged_model(experiment_id(client), name="m", source_run_id=run)
    return folder


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*.txt"))


def new_run(folder: Path, name: str) -> None:
    client = connect(sqlite_uri(folder / "mlflow.db"))
    client.log_text(client.create_run(experiment_id(client)).info.run_id, "new", name)


def test_a_moved_store(project, tmp_path, monkeypatch, cli):
    new = tmp_path / "new#place"
    project.rename(new)
    monkeypatch.chdir(new)
    warnings: list[str] = []
    connect(sqlite_uri("mlflow.db"), warnings.append)
    (text,) = warnings
    assert str(project) in text and "those of 1 run are" in text and "zoo track --repair" in text
    new_run(new, "new.txt")
    assert files(new) == ["new.txt", "old.txt"] and not project.exists()
    code, out, err = cli_in(new, cli, monkeypatch, "track", "--repair")
    assert (code, err) == (0, "") and out.startswith("corrected the artifacts of 1 runs and 0 experiments: from ")
    assert cli_in(new, cli, monkeypatch, "track", "--repair")[1] == f"nothing to repair in {new / 'mlflow.db'}\n"
    store = client(sqlite_uri("mlflow.db"))
    found = {each.path for run in store.search_runs(["1"]) for each in store.list_artifacts(run.info.run_id)}
    assert found == {"new.txt", "old.txt"}
    assert all(str(new.name).replace("#", "%23") in m.artifact_location for m in store.search_logged_models(["1"]))
    connect(sqlite_uri("mlflow.db"), lambda text: pytest.fail(text))


def cli_in(folder, cli, monkeypatch, *arguments):
    monkeypatch.chdir(folder)
    return cli(*arguments)


def test_a_copied_store_leaves_the_original_alone(project, tmp_path, monkeypatch):
    copy = Path(shutil.copytree(project, tmp_path / "copy"))
    before = files(project)
    moved = follow_store(copy / "mlflow.db")
    assert moved is not None and moved.places == (project,) and moved.runs == 1
    new_run(copy, "new.txt")
    assert files(project) == before and "new.txt" in files(copy)
    assert follow_store(project / "mlflow.db") is None
    # Another path of the same folder is no move.
    (tmp_path / "link").symlink_to(project)
    assert follow_store(tmp_path / "link" / "mlflow.db") is None


def test_artifacts_elsewhere_are_no_move(project, tmp_path):
    """The file alone was moved: MLflow still finds its artifacts."""
    (tmp_path / "elsewhere").mkdir()
    (project / "mlflow.db").rename(tmp_path / "elsewhere" / "mlflow.db")
    assert follow_store(tmp_path / "elsewhere" / "mlflow.db") is None


def test_old_runs_write_nothing_to_the_old_place(project, tmp_path, monkeypatch):
    from mlflow.tracking._tracking_service.utils import _artifact_repos_cache

    entry, run = zoo.get("mdm-micro"), tmp_path / "old % place" / "runs" / "one"
    uri = sqlite_uri("mlflow.db")
    record_entry(connect(uri), entry)
    observer = MLflowObserver(patience=60)
    observer.on_start(facts(run))
    observer.on_end("interrupted")
    new = tmp_path / "new"
    project.rename(new)
    monkeypatch.chdir(new)
    (new / "runs" / "one" / "grid.png").write_bytes(b"a picture")
    warnings: list[str] = []
    observer = MLflowObserver(warn=warnings.append, patience=60)
    observer.on_start(facts(new / "runs" / "one", first_step=1))
    observer.log_artifact(new / "runs" / "one" / "grid.png", "grids")
    observer.log_metrics({"value": 1.0}, 2)
    observer.on_end("finished")
    assert any("zoo track --repair" in text and "grid.png" in text for text in warnings)
    store = connect(sqlite_uri("mlflow.db"))
    monkeypatch.setattr("registry.tracking.entry_runs._add", lambda *args: 1)  # as if there were something new
    warning = record_entry(store, entry).warning
    assert warning is not None and "zoo track --repair" in warning
    assert not project.exists()
    assert repair_store(sqlite_uri("mlflow.db")).changed["runs"] == 3
    _artifact_repos_cache.clear()  # of this process
    # Found beside the run, although the address in the spool is the old one.
    sent = send_spool(new / "runs" / "one")
    assert sent.complete and sent.records >= 1 and not project.exists()
    assert list((new / "mlruns").rglob("grid.png"))


def test_what_cannot_be_repaired(project, tmp_path, cli, monkeypatch):
    new = tmp_path / "new"
    new.mkdir()
    (project / "mlflow.db").rename(new / "mlflow.db")
    shutil.rmtree(project)
    for uri, words in (
        (sqlite_uri(new / "mlflow.db"), "no folder mlruns here"),
        (sqlite_uri(new / "none.db"), "no such store"),
        ("http://127.0.0.1:1", "only a SQLite store"),
    ):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        code, _, err = cli("track", "--repair")
        assert code == 2 and words in err and err.count("\n") == 1
    assert "--repair takes no entries" in cli("track", "mdm-micro", "--repair")[2]
    assert not project.exists()
