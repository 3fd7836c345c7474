"""The plain training step equals that of the zoo."""

from __future__ import annotations

import pytest
import torch

from benchmarks.suite.comparing import zoo_model
from benchmarks.suite.inputs import graph_of
from benchmarks.suite.trainers import plain_step, zoo_step


@pytest.mark.parametrize("name", ["mdm-micro", "mdm-nano.text"])
def test_steps_are_equal(name):
    graph = graph_of(name)
    weights = zoo_model(graph, "cpu").state_dict()
    training, plain = plain_step(graph, 2, "cpu", weights=weights)
    phase, zoo = zoo_step(graph, 2, "cpu", weights=weights)
    for _ in range(2):
        losses, result = plain(), zoo()
        assert list(losses.values()) == pytest.approx(list(result.numbers.losses.values()), rel=1e-4)
    pairs = [(training.model, phase.model), (training.averaged, phase.ema.model)]
    for model, expected in pairs:
        values = model.state_dict()
        for key, value in expected.state_dict().items():
            torch.testing.assert_close(values[key].reshape(value.shape), value, rtol=1e-4, atol=1e-5, msg=key)
    moved = [name for name, value in phase.model.state_dict().items() if not torch.equal(value, weights[name])]
    assert len(moved) > len(weights) / 2
