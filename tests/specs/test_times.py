"""``times`` in recipes: a name, or a distribution with its mean and deviation."""

from __future__ import annotations

import json

import pytest

from specs.errors import SpecError
from specs.recipe import load_recipe
from specs.recipe_identity import fingerprint, saved_recipe, written


@pytest.mark.parametrize(
    ("spelled", "name", "numbers"),
    [
        ("uniform", "uniform", (None, None)),
        ("stratified", "stratified", (None, None)),
        ("logit_normal", "logit_normal", (0, 1)),
        ("logsnr", "logsnr", (2.4, 2.4)),
        ("{distribution: logsnr, mean: -1}", "logsnr", (-1, 2.4)),
        ("{distribution: logit_normal, std: 0.5}", "logit_normal", (0, 0.5)),
    ],
)
def test_times_are_a_name_or_have_numbers(spelled, name, numbers):
    recipe = load_recipe("micro-test", [f"times={spelled}"])
    assert (recipe.times.distribution, (recipe.times.mean, recipe.times.std)) == (name, numbers)
    text = json.dumps(written(recipe))
    assert saved_recipe(text).times == recipe.times
    assert ("times" in json.loads(text)) == (fingerprint(recipe) != fingerprint(load_recipe("micro-test")))
    assert ("times" in json.loads(text)) == (name != "uniform")


def test_a_phase_may_have_its_own_times():
    recipe = load_recipe("micro-test", ["times=logsnr", "phases.p8.times=stratified"])
    assert [recipe.times_of(phase).distribution for phase in recipe.phases.values()] == ["stratified", "logsnr"]
    assert "times" not in written(recipe)["phases"]["p16"]
    assert fingerprint(recipe) != fingerprint(load_recipe("micro-test", ["times=logsnr"]))


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ("logitnormal", "no distribution of times is called 'logitnormal'; did you mean 'logit_normal'"),
        ("{distribution: stratified, mean: 1}", "times 'stratified' have no 'mean'"),
        ("{distribution: logsnr, std: 0}", "std"),
        ("3", "'times' is a name, or {distribution: logsnr, mean: 2.4, std: 2.4}"),
    ],
)
def test_wrong_times(times, message):
    with pytest.raises(SpecError) as caught:
        load_recipe("micro-test", [f"times={times}"])
    assert message in str(caught.value).replace("\n", " ")
