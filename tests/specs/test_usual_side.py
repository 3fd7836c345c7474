"""The side by which the precision of a recipe is decided on a CPU."""

from __future__ import annotations

import pytest

from specs.passes.usual_side import usual_side
from specs.recipe import load_recipe, recipe_graph


@pytest.mark.parametrize(
    ("changes", "side"),
    [
        ([], 8),  # 8 of 14 steps
        (["phases.p16.steps=8"], 16),
        (["phases.p8=null"], 16),
        (["phases.p16=null"], 8),
        (["phases.p8.steps=null", "phases.p8.hours=1", "phases.p16.steps=null", "phases.p16.hours=2"], 16),
        (["phases.p8.steps=null", "phases.p8.hours=2", "phases.p16.steps=null", "phases.p16.hours=1"], 8),
        (["phases.p16.steps=null", "phases.p16.hours=100"], 8),  # neither steps nor hours of all
        (["phases.p16.steps=null", "phases.p16.hours=100", "phases.p8.train=r16", "phases.p8.batch=4"], 16),
    ],
)
def test_the_side_that_half_of_the_training_reaches(changes, side):
    recipe = load_recipe("micro-test", changes)
    assert usual_side(recipe, recipe_graph(recipe)) == side


def test_no_phase_of_the_entry():
    recipe = load_recipe("micro-test", ["phases.p16=null"])
    assert usual_side(recipe, recipe_graph(load_recipe("nano-flat"))) == 0
