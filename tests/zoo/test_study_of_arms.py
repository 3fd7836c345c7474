"""``zoo study`` with a study of arms: plan, registration, runs, and a run that is done again."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from registry.study_runs.results import RunResult
from tests.helpers.arm_studies import MINI, write_study

OPTIONS = ("--no-track", "-q", "--device", "cpu")
ONE = (("seeds: 2", "seeds: 1"),)
#: The study with one arm and seed.
ALONE = (*ONE, (MINI[MINI.index("  fast") : MINI.index("seeds")], ""), (MINI[MINI.index("contrasts") :], ""))


@pytest.fixture
def study(cli):
    """Write the study, and call ``zoo study`` on it: changes and options to code, output and errors."""

    def call(*options: str, changes=ONE):
        write_study(Path(), *changes)
        return cli("study", "mini.yaml", *options)

    return call


def test_a_study_is_registered_run_and_done_again(study, monkeypatch):
    code, out, _ = study("--register", changes=ALONE)
    assert code == 0 and "wrote mini.registered.json; commit it with mini.yaml before the first run" in out
    code, out, errors = study(*OPTIONS, changes=ALONE)
    assert (code, out) == (0, "") and "the registration is not committed" in errors
    found = {path.stem: json.loads(path.read_text("utf-8")) for path in Path("results/studies/mini").glob("*.json")}
    plain = found["plain-s0"]
    assert found.keys() == {"plain-s0"} and len(plain["registered"]) == 64
    assert plain["measures"]["p1"] > 0 and plain["measures"]["val_v_loss/r8"] > 0 and plain["seconds"] > 0
    assert plain["curves"]["val_v_loss/r8"]["values"][-1] == plain["measures"]["val_v_loss/r8"]
    code, out, _ = study(*OPTIONS, "--again", "plain-s0", changes=ALONE)
    assert code == 0 and "plain-s0 is reproduced to the last digit" in out
    assert not list(Path("runs/studies/mini").glob(".again*"))
    path = Path("results/studies/mini/plain-s0.json")
    path.write_text(json.dumps(plain | {"measures": {"p1": plain["measures"]["p1"] * 1.01}}), encoding="utf-8")
    # The run itself was done again above.
    monkeypatch.setattr("registry.study_runs.running.StudyRunner.result_of", lambda *_: RunResult(**plain))
    code, out, _ = study(*OPTIONS, "--again", "plain-s0", changes=ALONE)
    assert code == 2 and "not within 0.001 (largest relative difference 0.0099" in out
    # A run that failed is not reproduced by one that does not.
    path.write_text(
        json.dumps(plain | {"status": "failed", "failure": "not finite: p1", "measures": {}}), encoding="utf-8"
    )
    code, out, _ = study(*OPTIONS, "--again", "plain-s0", changes=ALONE)
    assert code == 2 and "(largest relative difference inf)" in out and "; it failed: not finite: p1" in out
    code, _, errors = study("--register", changes=ALONE)
    assert code == 2 and "mini has 1 results" in errors and "registered before its first run" in errors


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_a_run_is_measured_is_an_interruption(number, study, monkeypatch):
    before = signal.getsignal(number)

    def stopped(*_):
        os.kill(os.getpid(), number)

    monkeypatch.setattr("registry.study_runs.running.StudyRunner.result_of", stopped)
    monkeypatch.setattr("registry.study_runs.reproduction.reproduce", stopped)
    code, _, errors = study("--exploratory", *OPTIONS)
    assert code == 130 and "interrupted; finished runs have their results" in errors
    code, _, errors = study("--exploratory", *OPTIONS, "--again", "plain-s0")
    assert code == 130 and "interrupted; nothing is kept of a run that is done again" in errors
    assert signal.getsignal(number) == before


def test_a_plan_trains_nothing(study, monkeypatch):
    monkeypatch.setattr("registry.study_runs.plan.step_seconds", lambda *_: 0.5)
    code, out, _ = study("--plan", changes=(("seeds: 2", "seeds: 8"),))
    assert code == 0 and "16 runs of 8 seeds" in out and "power of rate: " in out and "is not registered" in out
    code, out, _ = study("--plan", "--json")
    found = json.loads(out)
    assert code == 0 and found["training_flops"] > 0 and [arm["arm"] for arm in found["arms"]] == ["plain", "fast"]
    assert found["arms"][0]["seconds"] == 0.5 * found["arms"][0]["steps"]["p8"]
    assert "none can be significant" in study("--plan")[1]
    assert not Path("results").exists() and not Path("runs").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), ["mini.yaml: the study is not registered", "--exploratory"]),
        (("--plan", "--register"), ["--plan and --register do not go together"]),
        (("--json",), ["--json is for --plan"]),
        (("--plan", "--processes", "2"), ["--processes is for running a study, not for --plan"]),
        (("--again", "plain-s0", "--processes", "2"), ["--processes is for running a study, not for --again"]),
        (("--exploratory", "--set", "measures=[p3]"), ["p3"]),
        (("--exploratory", "--set", "data=noto-emoij-64"), ["did you mean 'noto-emoji-64'"]),
        (("--exploratory", "--again", "plain-s7"), ["has no run 'plain-s7'"]),
        (("--exploratory", "--again", "plain-s0"), ["plain-s0 has no result in"]),
        (("--exploratory", "--set", "arms.plain.recipe.classes=4"), ["arm plain: mdm-micro: has 4 classes"]),
    ],
)
def test_errors_are_one_message(study, options, words):
    code, _, errors = study(*OPTIONS, *options)
    assert code == 2 and "Traceback" not in errors and not Path("runs").exists()
    for word in words:
        assert word in errors


def test_exploratory_results_are_stored_apart(study, monkeypatch):
    monkeypatch.setattr("zoo.api.train.run", lambda recipe, folder, **_: folder.mkdir(parents=True))
    monkeypatch.setattr("registry.measures.runs.measure_run", lambda *_, **__: {"p1": 1.0})
    assert study(*OPTIONS, "--exploratory", "--set", "seeds=[5]")[0] == 0
    found = json.loads(Path("results/studies/mini.exploratory/plain-s5.json").read_text("utf-8"))
    assert found["exploratory"] is True and "registered" not in found
    assert study(*OPTIONS, changes=(*ONE, ("name: mini", "name: mini\nexploratory: true")))[0] == 0
    assert Path("results/studies/mini/plain-s0.json").is_file()


def test_runs_are_tagged(study, monkeypatch):
    tagged = []
    monkeypatch.setattr("zoo.api.train.run", lambda *_, tags, **__: tagged.append(tags))
    monkeypatch.setattr("registry.measures.runs.measure_run", lambda *_, **__: {"p1": 1.0})
    assert study("-q", "--exploratory", "--device", "cpu")[0] == 0
    assert tagged[0] == {
        "study": "mini", "arm": "plain", "seed": "0", "study.part": "main", "exploratory": "True",
    }  # fmt: skip


def test_these_options_are_not_for_studies_of_entries(cli):
    for option in (("--plan",), ("--register",), ("--exploratory",), ("--processes", "2"), ("--again", "x")):
        code, _, errors = cli("study", "n32", *option)
        assert code == 2 and f"n32 compares entries; {option[0]} is for studies of arms" in errors


def test_a_study_takes_equal_runs_of_another(cli, monkeypatch):
    other, mine = (("name: mini", "name: other"), *ALONE), (("name: mini", "name: mine\nreuse: [./other.yaml]"), *ALONE)
    write_study(Path(), *other, name="other")
    write_study(Path(), *mine, name="mine")
    assert cli("study", "other.yaml", "--register")[0] == cli("study", "mine.yaml", "--register")[0] == 0
    monkeypatch.setattr("zoo.api.train.run", lambda recipe, folder, **_: folder.mkdir(parents=True))
    monkeypatch.setattr("registry.measures.runs.measure_run", lambda *_, **__: {"p1": 0.25})
    assert cli("study", "other.yaml", *OPTIONS)[0] == 0
    code, out, _ = cli("study", "mine.yaml", "--plan")
    assert code == 0 and "equal to runs of other, whose results are taken: 1" in out and "0 runs are missing" in out
    code, _, errors = cli("study", "mine.yaml", "--device", "cpu")
    assert code == 0 and "results of equal runs are taken: plain-s0 from other/plain-s0" in errors
    found = json.loads(Path("results/studies/mine/plain-s0.json").read_text("utf-8"))
    assert (found["taken_from"], found["measures"]) == ("other/plain-s0", {"p1": 0.25})
    assert not Path("runs/studies/mine/plain-s0").exists()
    # Its run is on MLflow's page, although it was not trained.
    code, out, _ = cli("track", "--study", "mine.yaml")
    assert (code, out) == (0, "1 results: 0 new runs\n")
    assert cli("track", "--study", "other.yaml")[1] == "1 results: 1 new runs\n"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("n32",), "n32 compares entries: track these"),
        (("mini.yaml",), "mini has no results in results/studies/mini; run 'zoo study mini.yaml' first"),
        (("mini.yaml", "mdm-nano"), "--study takes no entries"),
    ],
)
def test_what_cannot_be_tracked(cli, options, words):
    write_study(Path())
    code, _, errors = cli("track", "--study", *options)
    assert code == 2 and words in errors
