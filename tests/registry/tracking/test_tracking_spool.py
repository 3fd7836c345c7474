"""The spool: complete lines after a full disk or a kill, and how far each store is."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from registry.tracking.records import is_record
from registry.tracking.spool import SentState, Spool
from registry.tracking.spool_history import SpoolHistory
from registry.tracking.spool_writer import SpoolWriter
from registry.tracking.store import absolute_uri, shown_uri

RUN = {"kind": "run", "key": "k", "identity": "i"}


def metrics(step: int, **values: float) -> dict[str, object]:
    return {"kind": "metrics", "step": step, "time": 1000 + step, "values": values}


def test_lines_come_back_in_order_and_from_any_offset(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.append([RUN, metrics(1, loss=0.5)])
    spool.append([metrics(2, loss=0.25)])
    lines = list(Spool(tmp_path).lines())
    assert [line.record["kind"] for line in lines] == ["run", "metrics", "metrics"]
    assert lines[-1].end == spool.size()
    assert [line.record["step"] for line in spool.lines(lines[1].start)] == [1, 2]


def test_a_line_cut_short_by_a_kill_is_not_read_and_is_removed_on_resuming(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.append([RUN, metrics(1, loss=0.5)])
    spool.close()
    with spool.path.open("ab") as file:
        file.write(b'{"kind": "metrics", "st')
    assert len(list(Spool(tmp_path).lines())) == 2
    again = Spool(tmp_path)
    again.append([metrics(2, loss=0.25)])
    assert [line.record.get("step") for line in again.lines()] == [None, 1, 2]


def test_a_full_disk_leaves_whole_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path)
    spool.append([RUN])
    real = os.pwrite
    full = True

    def short(file: int, data: bytes, offset: int) -> int:
        if not full:
            return real(file, data, offset)
        real(file, data[:5], offset)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", short)
    with pytest.raises(OSError, match="No space"):
        spool.append([metrics(1, loss=0.5)])
    assert spool.size() == next(iter(spool.lines())).end
    full = False
    spool.append([metrics(1, loss=0.5)])
    assert [line.record["kind"] for line in spool.lines()] == ["run", "metrics"]


def test_the_thread_keeps_what_a_full_disk_does_not_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    warnings: list[str] = []
    thread = SpoolWriter(Spool(tmp_path), 0, warnings.append)
    real, failing = Spool.append, [True]

    def append(spool: Spool, records: list[dict[str, object]]) -> None:
        if failing[0]:
            raise OSError(28, "No space left on device")
        real(spool, records)

    monkeypatch.setattr(Spool, "append", append)
    monkeypatch.setattr("registry.tracking.spool_writer.PAUSE", 0.05)
    thread.start()
    for step in range(5):
        thread.put(metrics(step, loss=1.0))
    time.sleep(0.3)
    assert len(warnings) == 1 and "No space left" in warnings[0]
    failing[0] = False
    thread.put(metrics(5, loss=1.0))
    thread.close(5)
    assert [line.record["step"] for line in Spool(tmp_path).lines()] == [0, 1, 2, 3, 4, 5]


def test_records_that_a_full_disk_never_took_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from registry.tracking.observer import MLflowObserver
    from tests.helpers.tracking_stores import facts

    def full(spool: Spool, records: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Spool, "append", full)
    monkeypatch.setattr("registry.tracking.spool_writer.PAUSE", 0.05)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    warnings: list[str] = []
    observer = MLflowObserver(warn=warnings.append, patience=1.0)
    observer.on_start(facts(tmp_path / "run"))
    observer.log_metrics({"loss": 1.0}, 1)
    observer.on_end("finished")
    assert any("No space left" in text for text in warnings)
    assert any("the last records of this run could not be written" in text for text in warnings)


def test_what_each_store_has_is_remembered(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.append([RUN, metrics(1, loss=0.5)])
    assert spool.sent("a") is None
    spool.acknowledge("a", SentState("run-a", 5, (1, 2)))
    spool.acknowledge("b", SentState("run-b", 7))
    assert Spool(tmp_path).sent("a") == SentState("run-a", 5, (1, 2))
    assert Spool(tmp_path).sent("b") == SentState("run-b", 7)
    assert [path.name for path in spool.folder.iterdir() if path.suffix == ".tmp"] == []
    spool.acknowledge("a", SentState("run-a", 10**6))  # beyond the end: the spool is another one
    assert spool.sent("a") == SentState("run-a", 0)
    spool.sent_path.write_text("{ damaged")
    assert spool.sent("a") is None


def test_a_resumed_run_logs_nothing_twice(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.append([RUN, metrics(1, loss=5.0), metrics(2, loss=4.0), metrics(2, held_out_best=3.0)])
    history = SpoolHistory(spool, first_step=1)
    assert history.run == RUN and history.status == "RUNNING"
    assert history.filtered({"loss": 4.0, "other": 1.0}, 2) == {"other": 1.0}
    assert history.filtered({"loss": 3.0}, 3) == {"loss": 3.0}
    assert history.improve({"held_out": 3.5}) == {"held_out_best": 3.0}
    spool.append([{"kind": "run", "key": "k2", "identity": "i"}])
    fresh = SpoolHistory(spool, first_step=0)
    assert fresh.filtered({"loss": 4.0}, 2) == {"loss": 4.0} and fresh.best == {}


def test_values_that_were_measured_in_another_way_are_not_compared(tmp_path: Path) -> None:
    """The best value of a run of version 0.1 does not stay the best one when losses are measured in another way."""
    spool = Spool(tmp_path)
    spool.append([RUN, metrics(1, val=5.0, val_best=1.0)])
    history = SpoolHistory(spool, first_step=1)
    record = {"kind": "metrics", "step": 2, "time": 0, "values": {"val": 4.0}, "best": "keyed"}
    (line,) = history.lines_of(record)
    assert line["values"] == {"val": 4.0, "val_best": 4.0} and line["best"] == "keyed" and is_record(line)
    spool.append([line])
    resumed = SpoolHistory(spool, first_step=2)
    assert resumed.improve({"val": 4.5}, "keyed") == {"val_best": 4.0}
    assert resumed.improve({"val": 4.5}, "otherwise") == {"val_best": 4.5}
    assert not is_record({**line, "best": True})


def test_values_that_are_not_finite_are_counted_and_never_logged(tmp_path: Path) -> None:
    history = SpoolHistory(Spool(tmp_path), 0)
    reported = []
    for step in range(1, 6):
        assert history.filtered({"a": float("inf"), "b": float("nan"), "c": 1.0}, step) == {"c": 1.0}
        reported.append(bool(history.counts_to_report()))
    assert history.non_finite == {"a": [5, 1, 5], "b": [5, 1, 5]}
    assert reported == [True, True, False, True, False]
    assert history.improve({"a": float("inf"), "c": 1.0}) == {"c_best": 1.0}


def test_addresses_are_shown_without_password_and_paths_made_absolute(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert shown_uri("postgresql://me:secret@host/db") == "postgresql://me:***@host/db"
    assert shown_uri("http://127.0.0.1:5000") == "http://127.0.0.1:5000"
    assert absolute_uri("sqlite:///a.db") == f"sqlite:///{tmp_path}/a.db"
    assert absolute_uri("sqlite:////x/a.db") == "sqlite:////x/a.db"
    assert absolute_uri("http://host") == "http://host"


def test_a_run_that_is_extended_stays_one_run(tmp_path: Path) -> None:
    """Its recipe, and so its identity, changed; training from scratch with another recipe is another run."""
    spool = Spool(tmp_path)
    run = {**RUN, "name": "n", "time": 1, "tags": {}, "entry_hash": "h", "parent": None, "uri": "u"}
    start = {"kind": "start", "run": run, "details": [], "resumed": False}
    spool.append(SpoolHistory(spool, 0).lines_of(start))
    spool.append([{"kind": "status", "key": "k", "status": "FINISHED", "time": 2}])
    longer = {**start, "run": {**run, "identity": "other", "key": "k2"}}
    assert [line["kind"] for line in SpoolHistory(spool, 4).lines_of({**longer, "resumed": True})] == ["tags", "status"]
    assert [line["kind"] for line in SpoolHistory(spool, 0).lines_of(longer)] == ["run"]
