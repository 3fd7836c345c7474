"""Parameters by level, and loading the weights of an inner entry."""

from __future__ import annotations

import pytest
import torch

from builders.networks.nested_unet import NestedUNet, build_model
from builders.networks.parameters import level_of, load_inner, parameters_by_level
from specs.load import load_entry
from tests.helpers.networks import randomise

GRAPH = load_entry("mdm-micro").graph


def network(label: str = "r16", seed: int = 0) -> NestedUNet:
    return randomise(build_model(GRAPH.inner(label)), seed)


@pytest.mark.parametrize(
    ("name", "level"),
    [
        ("levels.r16.stem.weight", "r16"),
        ("levels.r8.x.norm1.bias", "r8"),
        ("inputs.classes.weight", "r4"),
        ("inputs.levels.weight", "r4"),
        ("r16.levels.weight", "r4"),
    ],
)
def test_level_of_a_parameter(name: str, level: str) -> None:
    """What belongs to no level is the innermost one's."""
    assert level_of(name, ("r16", "r8", "r4")) == level


def test_trained_parameters_by_level() -> None:
    model = network()
    model.levels["r16"].stem.weight.requires_grad_(False)
    found = parameters_by_level(model)
    assert list(found) == ["r16", "r8"]
    own = {id(parameter) for parameter in model.levels["r8"].parameters()}
    inputs = {id(parameter) for parameter in model.inputs.parameters()}
    assert own and inputs and {id(parameter) for parameter in found["r8"]} == own | inputs
    outer = {id(parameter) for parameter in model.levels["r16"].parameters()}
    assert {id(parameter) for parameter in found["r16"]} == outer - {id(model.levels["r16"].stem.weight)}
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    assert parameters_by_level(model) == {"r16": [], "r8": []}


def test_inner_weights_are_loaded_and_outer_ones_stay() -> None:
    model, inner = network(seed=0), network("r8", seed=1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert load_inner(model, inner.state_dict()) == ("r8",)
    for name, value in model.state_dict().items():
        expected = inner.state_dict().get(name, before[name])
        assert torch.equal(value, expected), name
    assert not all(torch.equal(value, model.state_dict()[name]) for name, value in before.items())
    # A whole entry is the innermost level of none but itself.
    assert load_inner(model, network(seed=2).state_dict()) == ("r16", "r8")


def test_weights_that_are_not_of_an_inner_level() -> None:
    model, weights = network(), dict(network("r8").state_dict())
    start = "^these are not weights of an inner level of mdm-micro: "
    inputs = next(name for name in weights if name.startswith("inputs."))
    own = next(name for name in weights if name.startswith("levels.r8."))
    for changed, message in (
        ({**weights, "levels.r8.other": torch.zeros(1)}, r"unknown levels\.r8\.other$"),
        ({**weights, "other": torch.zeros(1)}, "unknown other$"),
        ({name: value for name, value in weights.items() if name != own}, f"missing {own}$"),
        ({name: value for name, value in weights.items() if name != inputs}, f"missing {inputs}$"),
        # Nothing but inputs is no level.
        ({name: value for name, value in weights.items() if name.startswith("inputs.")}, "$"),
        ({}, "missing inputs"),
    ):
        with pytest.raises(ValueError, match=start + message):
            load_inner(model, changed)


def test_eight_problems_are_named_at_most() -> None:
    weights = dict(network("r8").state_dict())
    with pytest.raises(ValueError, match="unknown") as caught:
        load_inner(network(), {**weights, **{f"other{number}": torch.zeros(1) for number in range(9)}})
    assert str(caught.value).count("unknown") == 8
    assert "unknown other0, unknown other1, " in str(caught.value)
