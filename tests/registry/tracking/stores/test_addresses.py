"""Addresses of stores: SQLite files in folders of any name, and no passwords in messages and files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from registry.tracking.stores.addresses import (
    StoreError,
    absolute_uri,
    mlflow_uri,
    shown_uri,
    sqlite_path,
    sqlite_uri,
    stored_uri,
    tracking_uri,
)

FOLDERS = [
    "plain",
    "my%20project",
    "what?",
    "a#b",
    "a b",
    "it's",
    'say "hi"',
    "naïve",
    "日本",
    "100%",
    "a;b&c=d",
    "x:y@z",
]


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_file_in_any_folder_has_an_address(folder, tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path / folder)
    for uri in (tracking_uri(), sqlite_uri("mlflow.db"), absolute_uri(tracking_uri()), mlflow_uri(tracking_uri())):
        assert sqlite_path(uri) == tmp_path / folder / "mlflow.db"
    assert sqlite_path(stored_uri(tracking_uri())) == tmp_path / folder / "mlflow.db"


@pytest.mark.parametrize("folder", ["my%20project", "what?", "a#b", "it's 日本"])
def test_a_store_in_any_folder(folder, tmp_path, monkeypatch, empty_store):
    import shutil

    from registry.tracking.store import connect, experiment_id

    (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path / folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copy(empty_store, "mlflow.db")
    client = connect(tracking_uri())
    run = client.create_run(experiment_id(client)).info.run_id
    client.log_text(run, "text", "a.txt")
    assert len(list(Path("mlruns").rglob("a.txt"))) == 1
    assert [each.path for each in client.list_artifacts(run)] == ["a.txt"]
    # MLflow would create a folder with the quoted name.
    assert [path.name for path in tmp_path.iterdir()] == [folder]


def test_a_folder_whose_name_is_no_text(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = os.fsencode(tmp_path) + b"/\xff"
    os.mkdir(folder)
    monkeypatch.chdir(os.fsdecode(folder))
    with pytest.raises(StoreError, match="not UTF-8.*--no-track"):
        tracking_uri()


def test_the_variable(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for value, path in (("sqlite:///a.db", tmp_path / "a.db"), ("sqlite:////x/a%3Fb.db", Path("/x/a?b.db"))):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", value)
        assert sqlite_path(tracking_uri()) == path
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "  ")
    assert sqlite_path(tracking_uri()) == tmp_path / "mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert tracking_uri() == "http://127.0.0.1:5000" and sqlite_path(tracking_uri()) is None


@pytest.mark.parametrize("uri", ["sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite:/x.db", "sqlite"])
def test_what_is_no_file(uri, cli, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    code, _, err = cli("track", "mdm-micro", "-q")
    assert code == 2 and "sqlite:///FILE" in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("uri", "shown", "stored"),
    [
        ("http://me:secret@host:5000/x", "http://me:***@host:5000/x", "http://host:5000/x"),
        ("http://secret@host", "http://host", "http://host"),
        ("postgresql://me:sec/re?t@host/db", "postgresql://me:***@host/db", "postgresql://host/db"),
        ("http://me:s@cret@host/x", "http://me:***@host/x", "http://host/x"),
        ("http://host/x?token=secret", "http://host/x", "http://host/x"),
        ("postgresql://host/db?password=secret", "postgresql://host/db", "postgresql://host/db"),
    ],
)
def test_secrets(uri, shown, stored):
    assert (shown_uri(uri), stored_uri(uri)) == (shown, stored)
    assert shown_uri(f"no answer from {uri} or {uri}") == f"no answer from {shown} or {shown}"
