"""``averages`` in recipes: lengths and interval, and that recipes without it are written as before."""

from __future__ import annotations

import json

import pytest

from specs.errors import SpecError
from specs.recipe import load_recipe
from specs.recipe_identity import fingerprint, saved_recipe, written


def test_averages_are_part_of_the_recipe():
    plain, usual = load_recipe("micro-test"), load_recipe("micro-test", ["averages={}"])
    assert plain.averages is None and "averages" not in written(plain)
    assert usual.averages.lengths == (0.05, 0.1) and usual.averages.every == 100
    again = saved_recipe(json.dumps(written(usual)))
    assert again == usual and fingerprint(again) == fingerprint(usual) != fingerprint(plain)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("averages.lengths=0.1", "'lengths' is a list of numbers, such as"),
        ("averages.lengths=[]", "'lengths' is a list of numbers, such as"),
        ("averages.lengths=[0.1, 0.5]", "the length of an average is from 0.005 to 0.288, not 0.5"),
        ("averages.lengths=[0.1, 0.1]", "'lengths' must differ"),
        ("averages.every=0", "'every' must be at least 1"),
    ],
)
def test_lengths_that_cannot_be(change, message):
    with pytest.raises(SpecError, match=message):
        load_recipe("micro-test", [change])
