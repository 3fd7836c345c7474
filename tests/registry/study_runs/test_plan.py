"""Plans of studies: runs, FLOPs, time and power."""

from __future__ import annotations

import pytest

from registry.environment import hardware
from registry.study_runs.plan import plan_study, step_seconds
from registry.study_runs.results import RunKey, RunResult
from registry.study_runs.runs import StudyRuns
from specs.arms import load_arm_study
from tests.helpers.arm_studies import MINI, write_study


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    path = write_study(tmp_path_factory.mktemp("plan"), ("seeds: 2", "seeds: 8"))
    return StudyRuns(load_arm_study(path))


def test_a_plan_counts_runs_flops_and_power(runs):
    plan = plan_study(runs, {}, timed=False)
    assert [(arm.arm, arm.runs, arm.left) for arm in plan.arms] == [("plain", 8, 8), ("fast", 8, 8)]
    assert plan.flops == 16 * plan.arms[0].flops and plan.seconds_left is None and plan.pairs == 8
    # An effect of two standard deviations, 8 pairs: found nearly always.
    assert plan.possible and plan.contrasts[0].power > 0.95 and 1 < plan.smallest < 1.4


def test_steps_are_timed(runs):
    assert 0 < step_seconds(runs.example("fast"), "p8", 1) < 60


def test_times_are_those_of_this_hardware_or_of_a_few_steps(runs, monkeypatch):
    monkeypatch.setattr("registry.study_runs.plan.step_seconds", lambda *_: 0.25)
    here = {"hardware": hardware()}
    facts = {"study": "mini", "seconds": 10.0, "measuring_seconds": 4.0}
    keys = [RunKey(arm="plain", seed=seed) for seed in (0, 1, 2)]
    results = {
        keys[0]: RunResult(arm="plain", seed=0, environment=here, **facts),
        keys[1]: RunResult(arm="plain", seed=1, environment={"hardware": "another"}, **facts | {"seconds": 99.0}),
        keys[2]: RunResult(arm="plain", seed=2, status="failed", environment=here, **facts | {"seconds": 1.0}),
    }
    plan = plan_study(runs, results)
    plain, fast = plan.arms
    assert (plain.finished, plain.failed, plain.seconds, plain.measuring, plain.measured) == (3, 1, 10.0, 4.0, True)
    assert fast.seconds == 0.25 * fast.steps["p8"] and not fast.measured and fast.measuring == 4.0
    assert plan.seconds_left == pytest.approx(5 * 14.0 + 8 * (fast.seconds + 4.0))


def test_runs_of_the_search_are_measured_for_a_shorter_time(tmp_path):
    search = ("seeds: 2\n", "seeds: 2\nsearch: {set: ema, values: [0.5, 0.9], seeds: [8], by: p1}\n")
    runs = StudyRuns(load_arm_study(write_study(tmp_path, search)))
    facts = {"study": "mini", "seconds": 10.0, "environment": {"hardware": hardware()}}
    places = (RunKey(arm=arm, seed=8, searched=0) for arm in ("plain", "fast"))
    results = {key: RunResult(**key.model_dump(), measuring_seconds=1.0, **facts) for key in places}
    plan = plan_study(runs, results)
    # What a search measures says nothing of the other measures.
    assert [(arm.measuring, arm.search_measuring, arm.searches, arm.left) for arm in plan.arms] == [
        (None, 1.0, 1, 3)
    ] * 2
    results[RunKey(arm="plain", seed=0)] = RunResult(arm="plain", seed=0, measuring_seconds=7.0, **facts)
    plan = plan_study(runs, results)
    assert [(arm.measuring, arm.search_measuring) for arm in plan.arms] == [(7.0, 1.0)] * 2
    assert plan.seconds_left == pytest.approx(5 * 10.0 + 3 * 7.0 + 2 * 1.0)


def test_too_few_seeds_are_named(tmp_path):
    plan = plan_study(StudyRuns(load_arm_study(write_study(tmp_path))), {}, timed=False)
    assert not plan.possible and plan.smallest is None


def plan_of(folder, pairs, contrasts):
    changed = (("seeds: 2", f"seeds: {pairs}"), (MINI[MINI.index("contrasts") :], f"contrasts:\n{contrasts}"))
    return plan_study(StudyRuns(load_arm_study(write_study(folder, *changed))), {}, timed=False)


def test_a_one_sided_contrast_needs_fewer_seeds(tmp_path):
    rate = "  {name}: {{arms: [fast, plain], measure: p1, primary: true, effect: 0.2, spread: 0.1{more}}}\n"
    two = plan_of(tmp_path, 5, rate.format(name="rate", more=""))
    one = plan_of(tmp_path, 5, rate.format(name="rate", more=", alternative: less"))
    # With 5 pairs the smallest p value is 1/16, or 1/32 of one side.
    assert not two.possible and two.smallest is None and two.contrasts[0].power == 0
    assert one.possible and one.smallest < 3 and one.contrasts[0].power > 0.8


def test_contrasts_without_a_test_are_not_of_the_family(tmp_path):
    rate = "  rate: {arms: [fast, plain], measure: p1, primary: true, effect: 0.2, spread: 0.1}\n"
    more = "".join(f"  other{n}: {{arms: [fast, plain], measure: p1, primary: true, test: none}}\n" for n in range(4))
    alone, among = plan_of(tmp_path, 7, rate), plan_of(tmp_path, 7, rate + more)
    assert (among.primary, among.possible, among.smallest) == (1, True, alone.smallest)
    assert [each.power for each in among.contrasts] == [alone.contrasts[0].power, None, None, None, None]
