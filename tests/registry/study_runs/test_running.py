"""What is missing of a study is run; processes share the work, and one that was killed is resumed."""

from __future__ import annotations

import threading

import pytest

from builders.files import file_lock
from builders.training.errors import Interrupted, TrainingError
from registry.studies import StudyError
from registry.study_runs.registration import Registration
from registry.study_runs.results import RunKey, read_results, result_path, save_result
from registry.study_runs.running import Places, StudyRunner, results_by_key
from registry.study_runs.runs import StudyRuns
from specs.arms import load_arm_study
from tests.helpers.arm_studies import write_study

SEARCH = (
    "seeds: 2\n",
    "seeds: 2\nsearch: {set: ema, values: [0.5, 0.9, 0.7], seeds: [8, 9], by: p1}\n",
)


class Trainer:
    """Trains nothing, and measures the EMA of the recipe and the seed."""

    def __init__(self, monkeypatch, best=0.9):
        self.trained, self.measured, self.failing = [], [], {}
        self.best = best
        monkeypatch.setattr("registry.measures.runs.measure_run", self.measure)

    def train(self, planned, folder, clock):
        folder.mkdir(parents=True, exist_ok=True)
        self.trained.append(planned.key.name)
        self.last = planned
        error = self.failing.get(planned.key.name)
        if error is not None:
            raise error
        (folder / "checkpoints").mkdir(exist_ok=True)

    def measure(self, folder, measures, **options):
        self.measured.append((folder.name, dict(measures)))
        return {"p1": abs(self.last.recipe.ema - self.best) + self.last.key.seed, "more": [1], "p1/-5": 2}


@pytest.fixture
def trainer(monkeypatch):
    return Trainer(monkeypatch)


@pytest.fixture
def runner(tmp_path, trainer):
    """Make a runner of the study with some changes."""

    def make(*changes, **options):
        runs = StudyRuns(load_arm_study(write_study(tmp_path, *changes)))
        return StudyRunner(runs, Places(tmp_path / "runs", tmp_path / "results"), trainer.train, poll=0.01, **options)

    return make


def test_every_arm_and_seed_has_a_result(runner, trainer, tmp_path):
    assert runner(registration=Registration("abc", "commit")).run().elsewhere == ()
    assert trainer.trained == ["plain-s0", "fast-s0", "plain-s1", "fast-s1"]
    found = read_results(tmp_path / "results")
    assert {(each.arm, each.seed) for each in found} == {(arm, seed) for arm in ("plain", "fast") for seed in (0, 1)}
    one = found[0]
    assert one.measures["p1/-5"] == 2.0 and one.series == {"more": [1]} and one.status == "finished"
    assert (one.registered, one.commit, one.exploratory) == ("abc", "commit", False)
    assert one.entry == "mdm-micro" and one.training_flops > 0 and one.steps.keys() == {"p8"}
    assert not (tmp_path / "runs" / "plain-s0" / "checkpoints").exists()
    result_path(RunKey(arm="fast", seed=0), tmp_path / "results").unlink()
    assert runner().run().elsewhere == ()
    assert trainer.trained[4:] == ["fast-s0"]
    assert [each.exploratory for each in read_results(tmp_path / "results")] == [True, False, False, False]


def test_a_search_comes_first_and_each_arm_takes_its_best(runner, trainer, tmp_path):
    runner(SEARCH).run()
    assert trainer.trained[:3] == ["plain-v0-s8", "plain-v1-s8", "plain-v2-s8"]
    assert trainer.trained[12:] == ["plain-s0", "fast-s0", "plain-s1", "fast-s1"]
    results = results_by_key(StudyRuns(load_arm_study(tmp_path / "mini.yaml")), tmp_path / "results")
    assert {each.setting for key, each in results.items() if key.searched is None} == {0.9}
    assert [each.setting for key, each in results.items() if key.searched == 2] == [0.7] * 4


def test_the_highest_value_may_be_the_best(runner, tmp_path):
    runner(SEARCH, ("by: p1", "by: p1, best: highest")).run()
    assert read_results(tmp_path / "results", [RunKey(arm="plain", seed=0)])[0].setting == 0.5


def test_a_failed_run_is_named_and_not_repeated(runner, trainer, tmp_path):
    trainer.failing["fast-s0"] = TrainingError("3 steps were not finite")
    runner().run()
    failed = read_results(tmp_path / "results", [RunKey(arm="fast", seed=0)])[0]
    assert (failed.status, failed.failure, failed.measures) == ("failed", "3 steps were not finite", {})
    runner().run()
    assert trainer.trained.count("fast-s0") == 1


def test_a_value_of_the_search_that_fails_is_not_taken(runner, trainer, tmp_path):
    trainer.failing["plain-v1-s9"] = TrainingError("no")
    runner(SEARCH).run()
    found = read_results(tmp_path / "results", [RunKey(arm=arm, seed=1) for arm in ("plain", "fast")])
    assert [each.setting for each in found] == [0.7, 0.9]
    for key in ("plain-v0-s8", "plain-v1-s8", "plain-v2-s8"):
        trainer.failing[key] = TrainingError("no")
        (tmp_path / "results" / f"{key}.json").unlink()
    with pytest.raises(StudyError, match="the search of mini has no value of p1 for arm plain"):
        runner(SEARCH).run()


def test_a_measure_that_is_not_finite_is_a_failure(runner, monkeypatch, tmp_path):
    monkeypatch.setattr("registry.measures.runs.measure_run", lambda *_, **__: {"p1": float("nan"), "p2": 1.0})
    runner().run()
    found = read_results(tmp_path / "results")[0]
    assert (found.status, found.failure, found.measures) == ("failed", "not finite: p1", {"p2": 1.0})
    # The run can be measured again, so its states are still there.
    assert (tmp_path / "runs" / "fast-s0" / "checkpoints").is_dir()


def test_an_interrupted_run_has_no_result_and_is_resumed(runner, trainer, tmp_path):
    trainer.failing["plain-s0"] = Interrupted()
    with pytest.raises(Interrupted):
        runner().run()
    assert read_results(tmp_path / "results") == ()
    trainer.failing.clear()
    runner().run()
    assert trainer.trained[:2] == ["plain-s0", "plain-s0"] and len(read_results(tmp_path / "results")) == 4


def test_a_run_that_another_process_does_is_left_to_it(runner, trainer, tmp_path):
    made = runner()
    claim = made.places.claim(RunKey(arm="fast", seed=0))
    claim.parent.mkdir(parents=True)
    with file_lock(claim):
        assert made.run().elsewhere == (RunKey(arm="fast", seed=0),)
    assert trainer.trained == ["plain-s0", "plain-s1", "fast-s1"]
    assert made.run().elsewhere == () and trainer.trained[-1] == "fast-s0"


def test_the_search_of_another_process_is_waited_for(runner, trainer, tmp_path):
    made = runner(SEARCH)
    done = runner(SEARCH).runs.search_keys("fast")[-1]
    claim = made.places.claim(done)
    claim.parent.mkdir(parents=True)

    def other():
        planned = made.runs.planned(done, {})
        trainer.last = planned
        save_result(made.result_of(planned), made.places.results)
        lock.__exit__(None, None, None)

    lock = file_lock(claim)
    assert lock.__enter__()
    threading.Timer(0.3, other).start()
    assert made.run().elsewhere == ()
    assert trainer.trained.count(done.name) == 1 and len(read_results(tmp_path / "results")) == 16


def test_results_of_another_study_are_refused(runner, tmp_path):
    runner().run()
    with pytest.raises(StudyError, match=r"plain-s0: its recipe was \w+, now \w+"):
        runner(("1e-3", "3e-3")).run()
    with pytest.raises(StudyError, match=r"plain-s0: its entry was mdm-micro"):
        runner(("plain: {}", "plain: {entry: {process: {shift: 2}}}")).run()
