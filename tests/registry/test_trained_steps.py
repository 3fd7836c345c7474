"""Training steps of weights over all phases, also of files that have those of the last phase only."""

from __future__ import annotations

import json

import pytest

from builders.checkpoints.shipped import file_facts, shipped_weights
from builders.training.start import train
from registry.weights import trained_steps
from specs.recipe import load_recipe
from tests.helpers.paths import GOLDEN

pytestmark = pytest.mark.usefixtures("light_measures")


def test_a_finished_run(tmp_path, images):
    changes = ["phases.p8.steps=3", "phases.p16.steps=2", "phases.p8.batch=2", "phases.p16.batch=2"]
    weights = train(load_recipe("micro-test", [*changes, f"data={images}"]), tmp_path)
    facts = file_facts(weights)
    assert trained_steps(facts) == 5 and (facts["phase"], facts["step"]) == ("p16", "2")
    del facts["total_steps"]  # as version 0.1 wrote it
    assert trained_steps(facts) == 5


def test_weights_of_earlier_versions():
    assert trained_steps(file_facts(shipped_weights("mdm-nano"))) == 29000
    facts = file_facts(GOLDEN / "run-0.1" / "run" / "ema.safetensors")
    before = json.loads(facts["recipe"])["phases"]["p8"]["steps"]
    assert trained_steps(facts) == before + 3


@pytest.mark.parametrize(
    ("facts", "steps"),
    [
        ({}, None),
        ({"step": "7"}, 7),
        ({"step": "x"}, None),
        ({"step": "9" * 5000}, None),
        ({"step": "7", "phase": "b", "recipe": "[]"}, 7),
        ({"step": "7", "phase": "c", "recipe": '{"phases": {"a": {"steps": 2}}}'}, 7),
        ({"step": "7", "phase": "b", "recipe": '{"phases": {"a": {"steps": 2}, "b": {}}}'}, 9),
        ({"step": "7", "phase": "b", "recipe": '{"phases": {"a": {"hours": 2}, "b": {}}}'}, None),
        ({"step": "7", "phase": "b", "recipe": '{"phases": {"a": null, "b": {}}}'}, None),
        ({"step": "7", "phase": "b", "recipe": '{"phases": ["a", "b"]}'}, 7),
    ],
)
def test_facts_of_any_shape(facts, steps):
    assert trained_steps(facts) == steps
