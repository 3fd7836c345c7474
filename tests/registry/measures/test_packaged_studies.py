"""The packaged studies of arms: their arms differ in what they are about, fit the data, and can be measured."""

from __future__ import annotations

from functools import cache

import pytest

from builders.data.dataset_card import find_dataset
from registry.costs.card import make_card
from registry.measures.runs import check_measures
from registry.study_runs.lengths import check_costs, recipe_of_arm, training_flops
from specs.arms import LoadedArmStudy, load_arm_study

STUDIES = ("A", "A-64", "A-glyphs", "B", "B-rates", "C", "D", "E", "levers")


@cache
def study(name: str) -> LoadedArmStudy:
    return load_arm_study(name)


@pytest.mark.parametrize("name", STUDIES)
def test_arms_have_the_classes_of_the_data_and_can_be_measured(name):
    loaded = study(name)
    assert {arm.graph.classes for arm in loaded.arms} == {len(find_dataset(loaded.study.data)[0].classes)}
    assert all(sum(arm.shares.values()) == pytest.approx(1) for arm in loaded.arms)
    check_measures(loaded.study.measures, [arm.graph for arm in loaded.arms])
    assert loaded.study.hypotheses and len(loaded.study.seeds) == (4 if name == "levers" else 8)
    assert loaded.study.search is None or not set(loaded.study.search.seeds) & set(loaded.study.seeds)


@pytest.mark.parametrize("name", STUDIES)
def test_arms_cost_the_budget_within_two_per_cent(name):
    loaded = study(name)
    budget = loaded.study.budget
    assert budget.tolerance == 0.02
    flops = {arm.name: training_flops(recipe_of_arm(arm, budget), arm.graph) for arm in loaded.arms}
    check_costs(flops, {name: loaded.study.training_flops(name) for name in flops}, budget)


def test_states_of_study_d_are_enough_for_its_gradients():
    loaded = study("D")
    wanted = loaded.study.measures["gradients"]["checkpoints"]
    for arm in loaded.arms:
        recipe = recipe_of_arm(arm, loaded.study.budget)
        assert recipe.every.checkpoint == recipe.checkpoints.every > 0
        steps = sum(phase.steps or 0 for phase in recipe.phases.values())
        assert steps // recipe.checkpoints.every >= 2 * wanted - 1


@pytest.mark.parametrize("name", STUDIES)
def test_no_two_arms_are_trained_alike(name):
    arms = [
        (arm.graph.hash, arm.spec.cost, arm.recipe.model_copy(update={"name": "x", "summary": ""}))
        for arm in study(name).arms
    ]
    assert all(one not in arms[:place] for place, one in enumerate(arms))


@pytest.mark.parametrize("name", ["A", "A-64", "B"])
def test_networks_have_equal_parameters_and_the_schedule_of_the_nested_one(name):
    arms = study(name).arms
    cards = [make_card(arm.graph) for arm in arms]
    assert all(card.parameters == pytest.approx(cards[0].parameters, rel=0.02) for card in cards)
    assert all(card.training_flops == pytest.approx(cards[0].training_flops, rel=0.06) for card in cards)
    assert {arm.graph.noise_ratios[0] ** arm.graph.process.shift for arm in arms} == {4.0 if name == "A-64" else 2.0}


def test_the_second_set_repeats_study_a():
    first, second = study("A").study, study("A-glyphs").study
    own = {"name", "summary", "hypotheses", "data", "base", "search"}
    assert first.model_dump(exclude=own) == second.model_dump(exclude=own)
    # The precision that A has by default on a CPU. A GPU would take bfloat16; its float32 products are TF32.
    assert second.base == {"entry": "doll-n32", "classes": 36, "precision": "float32", **first.base}
    assert second.search == first.search.model_copy(update={"values": (2e-3, 4e-3, 8e-3)})


def test_the_lower_learning_rates_repeat_study_b():
    first, second = study("B").study, study("B-rates").study
    own = {"name", "summary", "hypotheses", "reuse", "search"}
    assert first.model_dump(exclude=own) == second.model_dump(exclude=own)
    assert second.search == first.search.model_copy(update={"values": (2.5e-4, 5e-4, 1e-3, 2e-3)})


def test_every_lever_is_compared_with_the_base():
    loaded = study("levers").study
    others = [name for name in loaded.arms if name != "base"]
    wanted = [(name, "val_v_loss/r64") for name in others]
    found = [(contrast.arms[0], contrast.measure) for contrast in loaded.contrasts.values()]
    assert found == wanted and {contrast.arms[1] for contrast in loaded.contrasts.values()} == {"base"}
    assert loaded.primary == {}


def test_primary_contrasts_are_those_of_the_mechanisms():
    primary = {name: (*contrast.arms, contrast.measure) for name, contrast in study("A").study.primary.items()}
    assert primary == {
        "sharing-flat": ("shared-noise", "flat", "p1"),
        "sharing-cut": ("shared-noise", "cut", "p1"),
        "nested-flat": ("nested", "flat", "p2"),
        "progressive": ("frozen", "nested", "p1"),
        "inner-loss": ("nested", "without-loss", "p1"),
    }
    assert study("A").arm("cut").recipe.phases["p32"].cut == ("r16",)
    assert study("A").arm("without-loss").recipe.loss.weight("r16") == 0
    assert study("A").arm("shared-noise").graph.process.noise == "shared"
