"""The recipes of a study."""

from __future__ import annotations

import pytest

import zoo
from registry.studies import study_recipe
from specs.study import load_study


@pytest.mark.parametrize("name", ["flat-n32", "doll-n32", "triple-n32"])
def test_the_phases_of_an_entry_share_the_budget(name):
    study = load_study("n32")
    graph = zoo.get(name).architecture
    recipe = study_recipe(study, graph)
    assert (recipe.entry, recipe.data, recipe.name) == (name, study.data, f"n32-{name}")
    assert [phase.train for phase in recipe.phases.values()] == list(reversed(graph.labels))
    share = study.budget.training_flops / len(graph.labels)
    levels = zoo.get(name).card().levels
    for phase in recipe.phases.values():
        # A step trains a level with its inner levels, forward and backward: three times the FLOPs of a forward pass.
        forward = sum(level.flops for level in levels[graph.labels.index(phase.train) :])
        step = 3 * forward * phase.batch
        assert phase.batch == 16 and abs(phase.steps * step - share) <= step / 2
    steps = [phase.steps for phase in recipe.phases.values()]
    assert steps == sorted(steps, reverse=True)  # inner levels are cheaper, so they get more steps


def test_settings_of_the_study_reach_the_recipe():
    study = load_study("n32", ["recipe.batch=4", "recipe.ema=0.9", "recipe.seed=7", "budget.training_flops=1"])
    recipe = study_recipe(study, zoo.get("flat-n32").architecture)
    assert (recipe.ema, recipe.seed, recipe.drop.classes) == (0.9, 7, 0.1)
    assert [(phase.steps, phase.batch) for phase in recipe.phases.values()] == [(1, 4)]


def test_an_entry_without_classes_sets_no_drop_rate(tmp_path):
    path = tmp_path / "plain.yaml"
    path.write_text("name: plain\nresolution: 32\nstages: {r32: {width: 32, depth: 1}}\n")
    recipe = study_recipe(load_study("n32"), zoo.get(path).architecture)
    assert "drop" not in recipe.model_fields_set and "loss" in recipe.model_fields_set
