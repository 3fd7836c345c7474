"""Measures of a run of a study in the MLflow run of its training."""

from __future__ import annotations

import pytest

from registry.study_report import tracked
from registry.study_report.tracked import send_measures
from registry.tracking.resend import SendReport
from registry.tracking.spool import Spool
from tests.helpers.made_up_study import made_up_result

RESULT = made_up_result(
    "nested", 0, measures={"p1": 0.5, "p1/-5": 0.75, "val_v_loss/r32": 0.25}, steps={"a": 3, "b": 4}
)


@pytest.fixture
def sent(monkeypatch):
    """Folders that are sent, and what the store says."""
    folders, failures = [], []

    def send(folder):
        folders.append(folder)
        return SendReport("store", "id", "FINISHED", 1, len(failures), 0, failures[0] if failures else None, ())

    monkeypatch.setattr(tracked, "send_spool", send)
    return folders, failures


def tracked_run(folder):
    spool = Spool(folder)
    spool.append([{"kind": "tags", "values": {"arm": "nested"}}])
    spool.close()
    return folder


def test_measures_follow_the_records_of_training(sent, tmp_path):
    assert send_measures(RESULT, tracked_run(tmp_path)) is None and sent[0] == [tmp_path]
    first, last = [line.record for line in Spool(tmp_path).lines()]
    assert first["kind"] == "tags" and last["kind"] == "metrics" and last["step"] == 7
    assert last["values"] == {"study/p1": 0.5, "study/p1/-5": 0.75, "study/val_v_loss/r32": 0.25}


def test_runs_without_tracking_or_measures_are_left_alone(sent, tmp_path):
    assert send_measures(RESULT, tmp_path) is None and not list(tmp_path.iterdir())
    assert send_measures(RESULT.model_copy(update={"measures": {}}), tracked_run(tmp_path)) is None
    assert sent[0] == [] and len(list(Spool(tmp_path).lines())) == 1


def test_a_store_that_is_unavailable(sent, tmp_path):
    sent[1].append("no server answers there")
    assert send_measures(RESULT, tracked_run(tmp_path)) == (
        f"MLflow does not have the measures of nested-s0 (no server answers there); run 'zoo track --send {tmp_path}'"
    )
