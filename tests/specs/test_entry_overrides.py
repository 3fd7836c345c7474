"""``entry_overrides`` of a recipe: changes to the entry that it trains."""

from __future__ import annotations

import json

import pytest

from specs.errors import SpecError
from specs.load import load_entry
from specs.recipe import load_recipe_and_graph, recipe_graph
from specs.recipe_identity import fingerprint, saved_recipe, written

CHANGES = ["process.prediction=flow", "stages.r16.width=16"]


def write(tmp_path, changes):
    path = tmp_path / "mine.yaml"
    path.write_text(f"name: mine\nextends: micro-test\nclasses: 3\nentry_overrides: {json.dumps(changes)}\n")
    return path


def test_a_recipe_trains_the_changed_entry(tmp_path):
    recipe, graph = load_recipe_and_graph(write(tmp_path, CHANGES))
    assert graph.hash == load_entry("mdm-micro", overrides=[*CHANGES, "nest.inputs.classes=3"]).graph.hash
    assert graph.process.prediction == "flow" and graph.classes == 3
    saved = saved_recipe(json.dumps(written(recipe)))
    assert saved.entry_overrides == tuple(CHANGES) and recipe_graph(saved).hash == graph.hash
    assert fingerprint(saved) == fingerprint(recipe)
    plain, _ = load_recipe_and_graph(write(tmp_path, []))
    assert fingerprint(plain) != fingerprint(recipe) and "entry_overrides" not in written(plain)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("stages.r16.widht=3", "mine.yaml:4:18: error[unknown-key]: entry_overrides: "),
        ("process.shift", "mine.yaml:4:19: error[wrong-type]: a change to the entry is written PATH=VALUE"),
        ("nest=other.yaml", "mine.yaml:4:19: error[bad-value]: 'entry_overrides' changes values of the entry"),
        ("nest={extends: /etc/hosts}", "another 'nest' or 'extends' needs an entry"),
        ("process={shift: 1, prediction: score}", "entry_overrides: "),
    ],
)
def test_wrong_changes(tmp_path, change, message):
    with pytest.raises(SpecError) as caught:
        load_recipe_and_graph(write(tmp_path, [change]))
    assert message in str(caught.value)
