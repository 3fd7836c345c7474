"""Weightings in recipes: a name, or a name with its argument; and those of recipes saved by earlier versions."""

from __future__ import annotations

import json
import math

import pytest

from specs.errors import SpecError
from specs.recipe import load_recipe
from specs.recipe_identity import fingerprint, renamed_weightings, saved_recipe, written
from specs.schemas.recipe import LossSpec, Recipe
from specs.schemas.weighting import WeightingSpec


def recipe(weighting: str, *more: str) -> Recipe:
    """Load a recipe with a weighting."""
    return load_recipe("micro-test", [f"loss={{space: eps, weighting: {weighting}}}", *more])


@pytest.mark.parametrize(
    ("spelled", "name", "arguments", "saved"),
    [
        ("none", "none", {}, "none"),
        ("vdm", "vdm", {}, "vdm"),
        ("min_snr", "min_snr", {"gamma": 5.0}, "min_snr"),
        ("{name: min_snr, gamma: 5}", "min_snr", {"gamma": 5.0}, "min_snr"),
        ("{name: min_snr, gamma: 3}", "min_snr", {"gamma": 3.0}, {"name": "min_snr", "gamma": 3.0}),
        ("soft_min_snr", "soft_min_snr", {"gamma": math.exp(2)}, "soft_min_snr"),
        ("{name: soft_min_snr, gamma: 4}", "soft_min_snr", {"gamma": 4.0}, {"name": "soft_min_snr", "gamma": 4.0}),
        ("sigmoid", "sigmoid", {"bias": 2.0}, {"name": "sigmoid", "bias": 2.0}),
        ("{name: sigmoid, bias: -1.5}", "sigmoid", {"bias": -1.5}, {"name": "sigmoid", "bias": -1.5}),
    ],
)
def test_a_weighting_is_a_name_or_has_an_argument(spelled, name, arguments, saved):
    found = recipe(spelled)
    assert (found.loss.weighting.name, found.loss.weighting.arguments) == (name, arguments)
    text = json.dumps(written(found))
    assert json.loads(text)["loss"]["weighting"] == saved
    assert saved_recipe(text) == Recipe.model_validate_json(text) == found
    assert fingerprint(saved_recipe(text)) == fingerprint(found)


def test_arguments_change_the_fingerprint():
    texts = ["none", "sigmoid", "{name: sigmoid, bias: 1}", "soft_min_snr", "min_snr", "{name: min_snr, gamma: 4}"]
    assert len({fingerprint(recipe(text)) for text in texts}) == len(texts)
    assert fingerprint(recipe("{name: sigmoid, bias: 2}")) == fingerprint(recipe("sigmoid"))


@pytest.mark.parametrize(
    ("spelled", "message"),
    [
        ("sgmoid", "no weighting is called 'sgmoid'; did you mean 'sigmoid'?"),
        ("{name: snr7}", "no weighting is called 'snr7'"),
        ("3", "'weighting' is a name, or {name: sigmoid, bias: 2}"),
        ("{bias: 2}", "name"),
        ("{name: vdm, gamma: 3}", "weighting 'vdm' has no argument 'gamma'"),
        ("{name: sigmoid, gamma: 3}", "weighting 'sigmoid' has no argument 'gamma'; it takes bias"),
        ("{name: min_snr, bias: 3}", "weighting 'min_snr' has no argument 'bias'; it takes gamma"),
        ("{name: min_snr, gamma: 0}", "gamma"),
        ("{name: sigmoid, bias: 21}", "bias"),
        ("{name: sigmoid, bais: 1}", "did you mean 'bias'"),
    ],
)
def test_wrong_weightings(spelled, message):
    with pytest.raises(SpecError) as error:
        recipe(spelled)
    assert message in str(error.value)


def test_weightings_are_of_the_eps_space():
    with pytest.raises(SpecError, match="weighting 'sigmoid' is defined for the eps space; set 'space: eps'"):
        load_recipe("micro-test", ["loss={space: v, weighting: {name: sigmoid, bias: 1}}"])
    assert str(WeightingSpec(name="sigmoid", bias=1)) == "{name: sigmoid, bias: 1}"
    assert str(LossSpec().weighting) == "none"


def test_saved_recipes_keep_the_meaning_of_sigmoid():
    """Versions before 0.2 wrote "sigmoid" for what is called soft_min_snr now."""
    text = json.dumps(written(recipe("sigmoid", "phases.p16.loss={weighting: min_snr}")))
    now = '{"name": "sigmoid", "bias": 2.0}'
    assert text.count(now) == 1 and renamed_weightings(text) == []
    earlier = text.replace(now, '"sigmoid"').replace('"min_snr"', '"sigmoid"')
    assert renamed_weightings(earlier) == [("loss", "weighting"), ("phases", "p16", "loss", "weighting")]
    found = saved_recipe(earlier)
    assert found.loss.weighting == WeightingSpec(name="soft_min_snr")
    assert found.loss_of(found.phases["p16"]).weighting == WeightingSpec(name="soft_min_snr")
    assert fingerprint(found) != fingerprint(saved_recipe(text))
    for broken in ("", "[]", '{"phases": 3}'):
        with pytest.raises(ValueError):
            saved_recipe(broken)
