"""Stores that are unavailable, fail, hang or reject: training continues, and nothing is lost or duplicated."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from builders.training.start import train
from registry.tracking.observer import MLflowObserver, initialize_store
from registry.tracking.resend import TrackingError, send_spool
from registry.tracking.stores.addresses import sqlite_uri
from specs.recipe import Recipe
from tests.helpers.tracking_stores import client, facts, run_of, steps_of

pytestmark = pytest.mark.usefixtures("light_measures")

AWAY = "http://127.0.0.1:9"
pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture
def uri(shared_uri: str) -> str:
    """Return the address of a store, the same for all tests: each looks at its own run only."""
    return shared_uri


def new_observer(monkeypatch: pytest.MonkeyPatch, uri: str, **options: Any) -> MLflowObserver:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    return MLflowObserver(**options)


@contextlib.contextmanager
def hanging_server() -> Iterator[str]:
    """A server that takes connections and never answers."""
    connections = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connections.append(server.accept()[0])

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
    for connection in connections:
        connection.close()


def test_an_outage_in_mid_training_loses_and_duplicates_nothing(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.tracking import MlflowClient

    real, calls, warnings = MlflowClient.log_batch, [0], []
    created = MlflowClient.create_run

    def create(self: Any, *args: Any, **options: Any) -> Any:
        created(self, *args, **options)
        monkeypatch.setattr(MlflowClient, "create_run", created)
        raise ConnectionError("the answer was lost")

    def fail(self: Any, *args: Any, **options: Any) -> None:
        calls[0] += 1
        if 3 <= calls[0] < 9:
            if calls[0] % 2:  # it arrives, and the answer is lost
                real(self, *args, **options)
            raise ConnectionError("the server was killed")
        real(self, *args, **options)

    monkeypatch.setattr(MlflowClient, "create_run", create)
    monkeypatch.setattr(MlflowClient, "log_batch", fail)
    monkeypatch.setattr("registry.tracking.sender._Batch.add", _at_most(20))
    observer = new_observer(monkeypatch, uri, warn=warnings.append, patience=60)
    observer.on_start(facts(tmp_path))
    for step in range(1, 201):
        observer.log_metrics({"value": step / 3}, step)
        time.sleep(0.005)
    # The outage must be over before the end, where the observer would give up.
    deadline = time.monotonic() + 60
    while calls[0] < 9 and time.monotonic() < deadline:
        time.sleep(0.02)
    observer.on_end("finished")
    assert calls[0] > 9
    run = run_of(uri, tmp_path)
    assert run.info.status == "FINISHED" and steps_of(uri, run, "value") == list(range(1, 201))
    key = run.data.tags["zoo.run_key"]
    assert len(client(uri).search_runs([run.info.experiment_id], f"tags.`zoo.run_key` = '{key}'")) == 1
    assert len(warnings) == 1 and "the server was killed" in warnings[0] and str(tmp_path) in warnings[0]


def _at_most(count: int) -> Any:
    """Batches of few lines, so that there are many."""
    from registry.tracking.sender import _Batch

    real = _Batch.add
    return lambda batch, line: len(batch.lines) < count and real(batch, line)


@pytest.mark.slow
def test_a_store_that_is_away_is_sent_to_later(
    recipe: Recipe, uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warnings: list[str] = []
    train(recipe, tmp_path, observer=new_observer(monkeypatch, AWAY, warn=warnings.append, patience=15))
    assert (tmp_path / "ema.safetensors").is_file() and not (tmp_path / "mlflow.json").exists()
    assert AWAY in warnings[-1] and f"zoo track --send {tmp_path}" in warnings[-1]
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    failed = send_spool(tmp_path)  # to where training would have sent it
    assert failed.uri == AWAY and failed.left > 5 and failed.failure and not failed.complete
    sent = send_spool(tmp_path, uri)
    assert sent.complete and sent.records == failed.left and sent.status == "FINISHED" and sent.failure is None
    run = run_of(uri, tmp_path)
    assert run.info.run_id == sent.run_id and run.info.status == "FINISHED"
    assert steps_of(uri, run, "loss/r8") == [1, 2, 3, 4]
    assert {item.path for item in client(uri).list_artifacts(sent.run_id)} == {"grids", "spec.yaml"}
    assert send_spool(tmp_path, uri).records == 0


def test_unsent_records_are_sent_by_the_next_start(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = new_observer(monkeypatch, AWAY, warn=lambda text: None, patience=10)
    first.on_start(facts(tmp_path))
    first.log_metrics({"value": 1.0}, 1)
    first.log_metrics({"value": 2.0}, 2)
    first.on_end("interrupted")
    second = new_observer(monkeypatch, uri)
    second.on_start(facts(tmp_path, first_step=1))  # step 2 was taken after the last checkpoint
    second.log_metrics({"value": 2.5}, 2)
    second.log_metrics({"value": 3.0}, 3)
    second.on_end("finished")
    run = run_of(uri, tmp_path)
    assert run.info.status == "FINISHED"
    history = client(uri).get_metric_history(run.info.run_id, "value")
    assert [(point.step, point.value) for point in history] == [(1, 1.0), (2, 2.0), (3, 3.0)]


@pytest.mark.slow
def test_a_server_that_hangs_delays_neither_start_nor_steps(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warnings: list[str] = []
    with hanging_server() as address:
        observer = new_observer(monkeypatch, address, warn=warnings.append, patience=2)
        started = time.monotonic()
        observer.on_start(facts(tmp_path / "start"))
        assert time.monotonic() - started < 2  # a call to the server takes 10 s
        longest = 0.0
        for step in range(1, 101):
            before = time.perf_counter()
            observer.log_metrics({"value": 1.0}, step)
            longest = max(longest, time.perf_counter() - before)
            time.sleep(0.01)
        assert longest < 0.5
        started = time.monotonic()
        observer.on_end("finished")
        assert time.monotonic() - started < 5
        assert "no answer within 2 s" in warnings[-1] and "zoo track --send" in warnings[-1]
        started = time.monotonic()
        train(recipe, tmp_path / "run", observer=new_observer(monkeypatch, address, warn=warnings.append, patience=1))
        assert time.monotonic() - started < 30
    assert len((tmp_path / "start/tracking/spool.jsonl").read_text().splitlines()) > 100


@pytest.mark.slow
def test_a_store_that_cannot_be_used_does_not_end_training(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"this is no database" * 100)
    warnings: list[str] = []
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    train(recipe, tmp_path / "run", observer=new_observer(monkeypatch, uri, warn=warnings.append))
    assert "not a database" in warnings[-1] and "--send" in warnings[-1]
    assert (tmp_path / "run" / "ema.safetensors").is_file()


@pytest.mark.slow
def test_a_store_whose_creation_was_killed_is_created_again(tmp_path: Path) -> None:
    import sqlite3

    half = tmp_path / ".mlflow.db.123.tmp"
    with contextlib.closing(sqlite3.connect(half)) as database:
        database.execute("CREATE TABLE secrets (secret_id INTEGER)")
        database.commit()
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    initialize_store(uri)
    assert not half.exists() and client(uri).get_experiment_by_name("matryoshka-zoo") is not None


@pytest.mark.slow
def test_an_empty_file_becomes_a_store(empty_store: Path, tmp_path: Path) -> None:
    from registry.tracking.store import connect

    (tmp_path / "it's").mkdir()
    path = tmp_path / "it's" / "mlflow.db"
    path.touch()
    assert connect(sqlite_uri(path)).get_experiment_by_name("matryoshka-zoo") is not None


def test_what_the_store_rejects_is_reported_and_does_not_hold_up_the_rest(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warnings: list[str] = []
    observer = new_observer(monkeypatch, uri, warn=warnings.append)
    observer.on_start(facts(tmp_path))
    observer.log_metrics({"good": 1.0}, 1)
    observer.log_metrics({"bad*name": 1.0}, 1)
    observer.log_metrics({"good": 2.0}, 2)
    observer.log_artifact(tmp_path / "nothing.png", "grids")
    observer.on_end("finished")
    run = run_of(uri, tmp_path)
    assert run.info.status == "FINISHED" and steps_of(uri, run, "good") == [1, 2]
    assert len(warnings) == 2 and "bad*name" in warnings[0] and "nothing.png" in warnings[1]
    (tmp_path / "nothing.png").write_bytes(b"here now")
    sent = send_spool(tmp_path, uri)
    assert (sent.records, sent.refused, sent.left) == (1, 1, 0)
    assert [item.path for item in client(uri).list_artifacts(run.info.run_id, "grids")] == ["grids/nothing.png"]


def test_pictures_that_cannot_be_logged_do_not_leave_the_run_open(
    recipe: Recipe, uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.tracking import MlflowClient

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    warnings: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_artifact", refuse)
        train(recipe, tmp_path, observer=new_observer(monkeypatch, uri, warn=warnings.append))
    assert len(warnings) == 3 and all("Permission denied" in text for text in warnings)
    assert run_of(uri, tmp_path).info.status == "FINISHED"
    assert send_spool(tmp_path, uri).complete


def test_a_run_deleted_meanwhile_is_left_alone_and_created_again_on_demand(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warnings: list[str] = []
    observer = new_observer(monkeypatch, uri, warn=warnings.append)
    observer.on_start(facts(tmp_path))
    observer.log_metrics({"value": 1.0}, 1)
    while not (tmp_path / "mlflow.json").exists():
        time.sleep(0.05)
    deleted = run_of(uri, tmp_path).info.run_id
    client(uri).delete_run(deleted)
    observer.log_metrics({"value": 2.0}, 2)
    observer.on_end("finished")
    assert "deleted" in warnings[-1]
    sent = send_spool(tmp_path, uri)
    assert sent.complete and sent.run_id != deleted
    assert steps_of(uri, run_of(uri, tmp_path), "value") == [1, 2]


def test_a_killed_run_is_marked_when_it_is_sent(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    observer = new_observer(monkeypatch, AWAY, warn=lambda text: None, patience=0.1)
    observer.on_start(facts(tmp_path))
    observer.log_metrics({"value": 1.0}, 1)
    observer._writing.close(5)  # as a kill would leave it: no end
    observer._sending.close(10)
    sent = send_spool(tmp_path, uri)
    assert sent.complete and sent.status == "KILLED"
    run = run_of(uri, tmp_path)
    assert run.info.status == "KILLED" and run.info.end_time >= run.info.start_time


def test_sending_says_what_is_wrong_with_a_folder(tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from builders.files import file_lock

    with pytest.raises(TrackingError, match=r"no tracking/spool\.jsonl here"):
        send_spool(tmp_path, uri)
    observer = new_observer(monkeypatch, uri)
    observer.on_start(facts(tmp_path))
    observer.on_end("finished")
    with file_lock(tmp_path / "tracking/.lock"), pytest.raises(TrackingError, match="another process"):
        send_spool(tmp_path, uri)
