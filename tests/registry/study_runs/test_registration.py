"""A study is registered before its first run, and refused if it differs."""

from __future__ import annotations

import hashlib
import json
import subprocess

import pytest

from registry.studies import StudyError
from registry.study_runs.registration import check_registration, register, registration_path
from registry.study_runs.runs import StudyRuns
from specs.arms import load_arm_study
from tests.helpers.arm_studies import write_study


def runs_of(path, overrides=()):
    return StudyRuns(load_arm_study(path, overrides))


def test_a_registered_study_is_accepted_until_it_changes(tmp_path):
    path = write_study(tmp_path)
    with pytest.raises(StudyError, match=r"is not registered; register it before its first run \(zoo study .*--regis"):
        check_registration(runs_of(path))
    assert register(runs_of(path)) == registration_path(path) == tmp_path / "mini.registered.json"
    found = check_registration(runs_of(path))
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest() and found.commit == ""
    path.write_text(path.read_text(encoding="utf-8") + "# a comment\n", encoding="utf-8")
    with pytest.raises(StudyError, match=r"differs from what mini.registered.json registers: the file \(SHA-256 "):
        check_registration(runs_of(path))


def test_what_the_file_refers_to_is_registered_too(tmp_path):
    entry = tmp_path / "own.yaml"
    entry.write_text("name: own\nextends: mdm-micro\n", encoding="utf-8")
    base = tmp_path / "base.yaml"
    base.write_text("name: base\ndata: x\nentry: ./own.yaml\nema: 0.9\nphases: {p8: {train: r8, steps: 1, batch: 4}}\n")
    path = write_study(tmp_path, ("  entry: mdm-micro\n", "  extends: ./base.yaml\n"))
    register(runs_of(path))
    check_registration(runs_of(path))
    base.write_text(base.read_text(encoding="utf-8").replace("0.9", "0.8"), encoding="utf-8")
    with pytest.raises(StudyError, match="arm plain: its recipe"):
        check_registration(runs_of(path))
    entry.write_text("name: own\nextends: mdm-micro\nprocess: {shift: 3}\n", encoding="utf-8")
    with pytest.raises(StudyError, match="arm plain: the entry own"):
        check_registration(runs_of(path))


def test_overrides_and_damaged_registrations_are_refused(tmp_path):
    path = write_study(tmp_path)
    register(runs_of(path))
    with pytest.raises(StudyError, match="takes no --set"):
        check_registration(runs_of(path, ["seeds=3"]))
    with pytest.raises(StudyError, match="change the file in place of --set"):
        register(runs_of(path, ["seeds=3"]))
    for text in ("no", json.dumps({"sha256": 3}), "[]"):
        registration_path(path).write_text(text, encoding="utf-8")
        with pytest.raises(StudyError, match="not the registration of a study"):
            check_registration(runs_of(path))


def test_the_commit_of_a_registration_is_known(tmp_path):
    path = write_study(tmp_path)
    register(runs_of(path))

    def git(*words):
        command = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.c", *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    assert check_registration(runs_of(path)).commit == ""
    git("add", ".")
    git("commit", "-q", "-m", "Register")
    first = git("rev-parse", "HEAD")
    (tmp_path / "other").write_text("x", encoding="utf-8")
    git("add", ".")
    git("commit", "-q", "-m", "More")
    assert check_registration(runs_of(path)).commit == first
