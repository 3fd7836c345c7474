"""Records of damaged spools and of spools by others: skipped, and no file outside the run's folder is sent."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.tracking.observer import MLflowObserver
from registry.tracking.records import is_record
from registry.tracking.resend import send_spool
from registry.tracking.spool import SentState, Spool
from registry.tracking.spool_history import SpoolHistory
from tests.helpers.tracking_stores import client, facts, run_of

KINDS = ["run", "params", "tags", "metrics", "non_finite", "artifact", "text", "status", "other"]
NAMES = [
    "kind",
    "values",
    "step",
    "time",
    "key",
    "identity",
    "counts",
    "path",
    "folder",
    "name",
    "text",
    "status",
    "uri",
]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)


@given(st.lists(st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=6), max_size=4), st.data())
def test_what_is_no_record_is_skipped(tmp_path_factory, found, data):
    folder = tmp_path_factory.mktemp("spool")
    (folder / "tracking").mkdir()
    records = [each | {"kind": data.draw(st.sampled_from(KINDS))} for each in found]
    (folder / "tracking" / "spool.jsonl").write_text("".join(json.dumps(each) + "\n" for each in [*records, 3, None]))
    spool = Spool(folder)
    assert [line.record for line in spool.lines()] == [each for each in json_of(records) if is_record(each)]
    SpoolHistory(spool, 0)


def json_of(records):
    return [json.loads(json.dumps(each)) for each in records]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "3",
        '{"a": 3}',
        '{"a": {"run_id": "r"}}',
        '{"a": {"run_id": "r", "offset": "x"}}',
        "[" * 9999,
        "\udcff",
    ],
)
def test_damaged_facts_about_what_was_sent(content, tmp_path):
    spool = Spool(tmp_path)
    spool.folder.mkdir()
    spool.sent_path.write_text(content, errors="surrogateescape")
    assert spool.sent("a") is None
    spool.acknowledge("a", SentState("r", -3))
    assert spool.sent("a") == SentState("r", 0)


def test_pipes_and_links_in_place_of_files(tmp_path):
    spool = Spool(tmp_path)
    spool.folder.mkdir()
    os.mkfifo(spool.sent_path)
    assert spool.sent("a") is None
    (tmp_path / "precious").write_text("content")
    spool.path.symlink_to(tmp_path / "precious")
    with pytest.raises(OSError):
        spool.open()
    spool.path.unlink()
    os.mkfifo(spool.path)
    with pytest.raises(OSError):
        spool.open()
    assert (tmp_path / "precious").read_text() == "content" and not list(spool.lines())


@pytest.mark.usefixtures("quick")
def test_files_outside_the_folder_are_not_sent_from_a_spool(uri, tmp_path, monkeypatch):
    (tmp_path / "secret.txt").write_text("secret")
    run = tmp_path / "run"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    observer = MLflowObserver(warn=lambda text: None, patience=0.1)
    observer.on_start(facts(run))
    (run / "link.txt").symlink_to(tmp_path / "secret.txt")
    (run / "grid#1%.txt").write_text("a grid")
    for path in (tmp_path / "secret.txt", run / ".." / "secret.txt", run / "link.txt", run / "grid#1%.txt"):
        observer._put({"kind": "artifact", "path": str(path), "folder": ""})
    observer.on_end("finished")
    observer._sending.close(10)
    sent = send_spool(run, uri)
    assert sent.refused == 3 and all("outside the run's folder" in text for text in sent.warnings)
    names = {file.path for file in client(uri).list_artifacts(run_of(uri, run).info.run_id)}
    assert names == {"spec.yaml", "grid#1%.txt"}
    # The process that recorded them sends them.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    observer = MLflowObserver(patience=60)
    observer.on_start(facts(tmp_path / "other"))
    observer.log_artifact(Path(tmp_path / "secret.txt"))
    observer.on_end("finished")
    found = client(uri).list_artifacts(run_of(uri, tmp_path / "other").info.run_id)
    assert "secret.txt" in {file.path for file in found}
