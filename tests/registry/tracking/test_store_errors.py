"""Stores that cannot be used: one clear message each, no traceback, no password."""

from __future__ import annotations

import socket

import pytest

from registry.tracking.store import StoreError, explained, store_errors


@pytest.fixture
def fast(monkeypatch):
    from registry.tracking import store

    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_TIMEOUT", raising=False)
    monkeypatch.setattr(store, "HTTP_SECONDS", "1")


def refused(cli, monkeypatch, uri, *command):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    code, out, err = cli(*command)
    assert (code, out) == (2, "") and "Traceback" not in err and err.count("\n") == 1, err
    return err


@pytest.mark.parametrize("command", [("track", "mdm-micro", "-q", "--no-latency"), ("dashboard", "--print-url")])
def test_no_server(cli, monkeypatch, command):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    said = refused(cli, monkeypatch, f"http://me:secret@127.0.0.1:{port}", *command)
    assert said.startswith(f"error: MLflow at http://me:***@127.0.0.1:{port}: no server answers there")


def test_a_server_that_hangs(cli, monkeypatch, fast):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert "does not answer within" in refused(cli, monkeypatch, uri, "track", "mdm-micro", "-q")


@pytest.mark.parametrize("uri", ["foo://x", "file:///tmp/mlruns"])
def test_no_such_kind_of_store(cli, monkeypatch, uri):
    assert "set MLFLOW_TRACKING_URI to sqlite:///FILE or to the address of a server" in refused(
        cli, monkeypatch, uri, "track", "mdm-micro"
    )


def test_a_file_that_is_no_store(cli, monkeypatch, tmp_path):
    path = tmp_path / "notes.db"
    path.write_bytes(bytes(range(256)) * 16)
    said = refused(cli, monkeypatch, f"sqlite:///{path}", "track", "mdm-micro", "-q")
    assert "the file is not a database, is damaged" in said
    assert path.read_bytes() == bytes(range(256)) * 16


def test_what_a_database_says_is_not_hidden_by_remarks():
    text = "(raised as a result of Query-invoked autoflush; consider ...)\n(sqlite3.Error) database or disk is full\n"
    assert explained(RuntimeError(text)) == "the disk is full"
    assert explained(RuntimeError("(autoflush)\nit broke\nmore")) == "RuntimeError: it broke"


def test_errors_of_ours_are_left_alone():
    with pytest.raises(KeyError), store_errors("sqlite:///x.db"):
        raise KeyError("x")


def test_no_message_has_a_password():
    from mlflow.exceptions import MlflowException

    error = MlflowException("API request to http://me:secret@host/api failed")
    assert "secret" not in explained(error)
    with pytest.raises(StoreError) as found, store_errors("http://me:secret@host"):
        raise error
    assert "secret" not in str(found.value)
