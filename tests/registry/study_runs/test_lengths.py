"""Phases of an arm share the budget."""

from __future__ import annotations

import pytest

from registry.costs.device import PlannedDevice
from registry.costs.planning import plan_recipe
from registry.studies import StudyError
from registry.study_runs.lengths import check_costs, flops_by_phase, recipe_of_arm, step_flops
from registry.study_runs.runs import StudyRuns
from specs.arms import load_arm_study
from tests.helpers.arm_studies import write_study

ONE = "    p8: {train: r8, share: 0.4, batch: 4}\n"
TWO = f"{ONE}    p16: {{train: r16, share: 0.6, batch: {{r16: 2, r8: 4}}, freeze: [r8]}}\n"


@pytest.fixture
def two_phases(tmp_path):
    return load_arm_study(write_study(tmp_path, (ONE, TWO), ("1e8, tolerance: 0.7", "2e10")))


def test_phases_take_their_shares(two_phases):
    arm, budget = two_phases.arms[0], two_phases.study.budget
    recipe = recipe_of_arm(arm, budget)
    flops = flops_by_phase(recipe, arm.graph)
    for name, share in arm.shares.items():
        assert flops[name] == pytest.approx(share * 2e10, abs=step_flops(recipe, arm.graph, name))
    # The last one takes what rounding left.
    assert sum(flops.values()) == pytest.approx(2e10, abs=0.51 * step_flops(recipe, arm.graph, "p16"))


def test_an_arm_may_take_a_part_of_the_budget(tmp_path):
    budget, half = ("1e8, tolerance: 0.7", "2e10"), ("plain: {}", "plain: {cost: 0.5}")
    runs = StudyRuns(load_arm_study(write_study(tmp_path, (ONE, TWO), budget, half)))
    whole = StudyRuns(load_arm_study(write_study(tmp_path, (ONE, TWO), budget)))
    assert runs.example("plain").flops == pytest.approx(0.5 * whole.example("plain").flops, rel=0.02)
    with pytest.raises(StudyError, match=r"arm plain: .* training FLOPs, \+\d.* % of the budget"):
        check_costs(
            {"plain": whole.example("plain").flops}, {"plain": runs.study.training_flops("plain")}, runs.study.budget
        )


def test_flops_are_those_of_plans(two_phases):
    arm = two_phases.arms[0]
    recipe = recipe_of_arm(arm, two_phases.study.budget)
    plan = plan_recipe(recipe, arm.graph, PlannedDevice("cpu", "cpu", None))
    assert {phase.name: phase.steps * phase.flops for phase in plan.phases} == flops_by_phase(recipe, arm.graph)


def test_arms_of_another_cost_are_refused(tmp_path):
    change = ("plain: {}", "plain: {recipe: {phases: {p8: {steps: 3}}}}")
    with pytest.raises(StudyError, match=r"arm plain: .* training FLOPs, [+-]\d.* % of the budget"):
        StudyRuns(load_arm_study(write_study(tmp_path, change, ("1e8, tolerance: 0.7", "1e10"), ("0.4", "1"))))


def test_hours_are_refused(tmp_path):
    with pytest.raises(StudyError, match="phase 'p8': a phase of a study has 'steps', or a 'share'"):
        StudyRuns(load_arm_study(write_study(tmp_path, ("share: 0.4", "hours: 1"))))
