"""``learning_rates`` in recipes: rates by level, as numbers or multiples."""

from __future__ import annotations

import json

import pytest

from specs.errors import SpecError
from specs.recipe import load_recipe
from specs.recipe_identity import fingerprint, saved_recipe, written


def test_rates_are_numbers_or_multiples_and_a_phase_changes_them():
    changes = [
        "learning_rates={r8: 0.1x, r16: 2x}",
        "phases.p16.learning_rates={r8: 5e-4}",
        "optimizer.learning_rate=1e-3",
    ]
    recipe = load_recipe("micro-test", changes)
    p8, p16 = (recipe.rates_of(recipe.phases[name]) for name in ("p8", "p16"))
    assert p8 == {"r8": 0.1, "r16": 2.0} and p16 == pytest.approx({"r8": 0.5, "r16": 2.0})
    half = load_recipe("micro-test", [*changes, "phases.p16.learning_rate=5e-4"])
    assert half.rates_of(half.phases["p16"])["r8"] == pytest.approx(1)
    again = saved_recipe(json.dumps(written(recipe)))
    assert again == recipe and fingerprint(again) == fingerprint(recipe) != fingerprint(load_recipe("micro-test"))
    assert "learning_rates" not in written(load_recipe("micro-test"))
    assert "learning_rates" not in written(load_recipe("micro-test"))["phases"]["p8"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("learning_rates={r9: 0.1x}", "mdm-micro has no level 'r9'"),
        ("phases.p8.learning_rates={r16: 0.1x}", "phase 'p8' does not train a level 'r16'"),
        ("learning_rates={r8: x}", "a learning rate of a level is a number, or a multiple such as 0.1x"),
        ("learning_rates={r8: 0x}", "a multiple of a learning rate is from 0.001x to 1000x; see 'freeze'"),
        ("learning_rates={r8: 0}", "a learning rate is above 0 and at most 10; see 'freeze'"),
        ("phases.p16={freeze: [r8], learning_rates: {r8: 1x}}", "phase 'p16' freezes r8, so it has no learning rate"),
    ],
)
def test_wrong_rates(change, message):
    with pytest.raises(SpecError) as caught:
        load_recipe("micro-test", [change])
    assert message in str(caught.value)
