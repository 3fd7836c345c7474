"""Results that a study takes from others: those of equal runs that are measured alike."""

from __future__ import annotations

import hashlib
import math
import shutil
from pathlib import Path

import pytest

from registry.studies import StudyError
from registry.study_runs.registration import Registration
from registry.study_runs.results import RunKey, RunResult, read_results, save_result
from registry.study_runs.reuse import equal_results, other_studies
from registry.study_runs.running import Places, StudyRunner
from registry.study_runs.runs import StudyRuns
from specs.arms import load_arm_study
from tests.helpers.arm_studies import write_study

OTHER = (("name: mini", "name: other"),)
RESULTS = Path("results/studies/other")
#: A study with an arm of the other one under another name, and one that the other one lacks.
MINE = (
    ("name: mini", "name: mine\nreuse: [./other.yaml]"),
    ("  plain: {}", "  base: {}"),
    ("2e-3", "4e-3"),
    ("[fast, plain]", "[fast, base]"),
)
SEARCH = ("seeds: 2\n", "seeds: 2\nsearch: {set: ema, values: [0.5, 0.9], seeds: [8, 9], by: p1}\n")
HERE = {"hardware": "two cores", "version.torch": "2.14.1"}
PLAIN = [RunKey(arm="plain", seed=seed) for seed in (0, 1)]


def written(folder, changes, name):
    return StudyRuns(load_arm_study(write_study(folder, *changes, name=name)))


def hashed(runs):
    return hashlib.sha256(runs.loaded.path.read_bytes()).hexdigest()


def finished(runs, key, results=None, **changes):
    """A result of a run as it would be made."""
    planned = runs.planned(key, results or {})
    facts = {"measures": {"p1": 0.5}, "registered": hashed(runs), "commit": "older", "environment": HERE, **changes}
    return RunResult(
        study=runs.study.name, **key.model_dump(), setting=planned.setting, hash=planned.graph.hash,
        recipe=planned.fingerprint, **facts,
    )  # fmt: skip


@pytest.fixture
def other(tmp_path):
    return written(tmp_path, OTHER, "other")


@pytest.fixture
def mine(tmp_path, other):
    return written(tmp_path, MINE, "mine")


@pytest.fixture(autouse=True)
def current_folder(tmp_path, monkeypatch):
    """Results of other studies are in the current folder."""
    monkeypatch.chdir(tmp_path)


def equal(mine, results, registration=None):
    """Results that are taken, after these are those of the other study."""
    shutil.rmtree(RESULTS, ignore_errors=True)
    for result in results:
        save_result(result, RESULTS)
    found = equal_results(mine, {}, other_studies(mine.loaded), HERE, registration)
    return {key.name: taken.result for key, taken in found.items()}


def test_equal_runs_are_taken_under_names_of_their_own(mine, other, tmp_path):
    results = [finished(other, key) for key in (*PLAIN, RunKey(arm="fast", seed=0))]
    found = equal(mine, results, Registration("mine", "newer"))
    assert found.keys() == {"base-s0", "base-s1"}
    taken = found["base-s1"]
    assert (taken.study, taken.arm, taken.seed, taken.taken_from) == ("mine", "base", 1, "other/plain-s1")
    assert (taken.registered, taken.commit, taken.exploratory) == ("mine", "newer", False)
    assert (taken.environment, taken.measures) == (HERE, {"p1": 0.5})


@pytest.mark.parametrize(
    "changes",
    [
        *({"hash": "x"}, {"recipe": "x"}, {"seed": 5}, {"threads": 2}, {"status": "failed"}, {"exploratory": True}),
        *({"arm": "gone"}, {"registered": "the file as it was before"}),
        *({"environment": HERE | {"hardware": "a GPU"}}, {"environment": HERE | {"version.torch": "2.0"}}),
    ],
)
def test_runs_that_differ_are_not_taken(mine, other, changes, tmp_path):
    result = finished(other, PLAIN[0]).model_copy(update=changes)
    assert equal(mine, [result], Registration("mine")) == {}


def test_exploratory_studies_take_registered_results(mine, other):
    found = equal(mine, [finished(other, PLAIN[0])])
    assert found["base-s0"].exploratory and found["base-s0"].registered == ""


@pytest.mark.parametrize(
    "change",
    [
        ("draws: 1, samples: 4}}\ncontrasts", "draws: 2, samples: 4}}\ncontrasts"),
        ("{p1: {draws: 1, samples: 4}}", "{p1: {draws: 1, samples: 4}, p2: {}}"),
        ("seeds: 2", "seeds: 2\nevaluation: {samples: 7}"),
        ("validation: {samples: 4", "validation: {samples: 5"),
        ("evaluate: 0", "evaluate: 1"),
        ("checkpoint: 0", "checkpoint: 1"),
        ("batch: 4", "batch: 4, memory: {rows_per_pass: 2}"),
        ("data: noto-emoji-64", "data: ./noto-emoji-64"),
    ],
)
def test_runs_that_are_measured_otherwise_are_not_taken(other, change, tmp_path):
    mine = written(tmp_path, (*MINE, change), "mine")
    assert equal(mine, [finished(other, PLAIN[0])]) == {}


def test_p1_of_other_ratios_follows_from_the_errors_of_all(other, tmp_path):
    mine = written(tmp_path, (*MINE, ("{draws: 1, samples: 4}", "{draws: 1, samples: 4, log_snrs: [-5, 4]}")), "mine")
    errors = {"p1/-5": 0.25, "p1/4": 0.01, "p1/6": 9.0}
    result = finished(other, PLAIN[0], measures={"p1": 0.5, **errors})
    assert equal(mine, [result])["base-s0"].measures == {
        "p1": pytest.approx(math.sqrt(0.0025)),
        **errors,
    }
    assert equal(mine, [finished(other, PLAIN[0])]) == {}  # the errors are not known


def test_a_search_is_taken_first_and_then_the_runs_of_its_choice(tmp_path):
    other = written(tmp_path, (*OTHER, SEARCH), "other")
    mine = written(tmp_path, (*MINE, SEARCH), "mine")
    tried = [RunKey(arm="plain", seed=seed, searched=place) for seed in (8, 9) for place in (0, 1)]
    results = {key: finished(other, key, measures={"p1": 1.0 - key.searched}) for key in tried}
    results[PLAIN[0]] = finished(other, PLAIN[0], results)
    found = equal(mine, results.values())
    assert found.keys() == {"base-v0-s8", "base-v1-s8", "base-v0-s9", "base-v1-s9", "base-s0"}
    assert found["base-s0"].setting == 0.9 and found["base-v0-s9"].taken_from == "other/plain-v0-s9"


def test_a_run_of_a_search_is_no_main_run(tmp_path):
    """The search measures less, although the recipe is the same."""
    other = written(tmp_path, (*OTHER, SEARCH, ("samples: 4}}", "samples: 4}, p2: {}}")), "other")
    changes = (
        *MINE,
        ("seeds: 2", "seeds: [8]"),
        ("samples: 4}}", "samples: 4}, p2: {}}"),
        ("base: {}", "base: {recipe: {ema: 0.9}}"),
    )
    mine = written(tmp_path, changes, "mine")
    key = RunKey(arm="plain", seed=8, searched=1)
    assert finished(other, key).recipe == mine.planned(RunKey(arm="base", seed=8), {}).fingerprint
    assert equal(mine, [finished(other, key)]) == {}


class Runner:
    """A runner of a study that trains nothing, and notes what it does."""

    def __init__(self, runs, monkeypatch):
        monkeypatch.setattr("registry.measures.runs.measure_run", lambda *_, **__: {"p1": 1.0})
        monkeypatch.setattr("registry.environment.environment", lambda *_: HERE)
        self.trained, self.taken = [], []
        self.places = Places(Path("runs"), Path("results/studies/mine"))
        self.runner = StudyRunner(runs, self.places, self.train, others=other_studies(runs.loaded))
        self.runner.taken = lambda results: self.taken.append([each.key.name for each in results])

    def train(self, planned, *_):
        self.trained.append(planned.key.name)


def test_taken_results_are_stored_and_the_rest_is_trained(mine, other, monkeypatch):
    for key in PLAIN:
        save_result(finished(other, key, samples=f"{key.name}.png"), RESULTS)
    (RESULTS / "plain-s0.png").write_bytes(b"picture")
    made = Runner(mine, monkeypatch)
    made.runner.run()
    assert made.trained == ["fast-s0", "fast-s1"] and made.taken == [["base-s0", "base-s1"]]
    found = {each.key.name: each for each in read_results(made.places.results)}
    assert found["base-s0"].samples == "base-s0.png"
    assert (made.places.results / "base-s0.png").read_bytes() == b"picture"
    assert found["base-s1"].samples == "" and found["base-s1"].taken_from == "other/plain-s1"
    made.runner.run()
    assert len(made.trained) == 2 and len(made.taken) == 1


def test_runs_that_wait_for_the_rest_of_a_search_are_taken_after_it(tmp_path, monkeypatch):
    """The other study has tried one of two values, and the one that is tried here is worse."""
    other = written(tmp_path, (*OTHER, SEARCH), "other")
    mine = written(tmp_path, (*MINE, SEARCH, ("[0.5, 0.9]", "[0.9, 0.99]")), "mine")
    tried = [RunKey(arm="plain", seed=seed, searched=place) for seed in (8, 9) for place in (0, 1)]
    results = {key: finished(other, key, measures={"p1": 0.9 - 0.1 * key.searched}) for key in tried}
    for key in PLAIN:
        results[key] = finished(other, key, results)
    for result in results.values():
        save_result(result, RESULTS)
    made = Runner(mine, monkeypatch)
    made.runner.run()
    assert made.taken == [["base-v0-s8", "base-v0-s9"], ["base-s0", "base-s1"]]
    assert [name for name in made.trained if name.startswith("base")] == ["base-v1-s8", "base-v1-s9"]


def test_what_was_taken_keeps_its_origin(mine, other):
    copied = finished(other, PLAIN[0]).model_copy(update={"taken_from": "first/flat-s0"})
    assert equal(mine, [copied])["base-s0"].taken_from == "first/flat-s0"


def test_another_study_has_another_name(tmp_path):
    written(tmp_path, (("name: mini", "name: mine"),), "other")
    mine = written(tmp_path, MINE, "mine")
    with pytest.raises(StudyError, match="has the name of this one, mine"):
        other_studies(mine.loaded)
