"""The moving average of the weights: its decay, its age by level, what it carries to the next phase."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from builders.networks.nested_unet import NestedUNet, build_model
from builders.training.ema import EMA, ema_decay
from specs.load import load_entry


def network(label: str = "r16") -> NestedUNet:
    graph = load_entry("mdm-micro").graph
    return build_model(graph.inner(label))


def fill(model: nn.Module, value: float) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(value)


def values(model: NestedUNet) -> dict[str, set[float]]:
    """Return the values of the parameters by level; the inputs belong to the innermost one."""
    found: dict[str, set[float]] = {label: set() for label in model.labels}
    for name, parameter in model.named_parameters():
        label = name.split(".")[1] if name.startswith("levels.") else model.labels[-1]
        found[label] |= set(parameter.flatten().tolist())
    return found


def test_decay_grows_to_its_final_value() -> None:
    assert [ema_decay(0.9999, age) for age in (0, 1, 8, 90)] == [1 / 10, 2 / 11, 9 / 18, 91 / 100]
    assert ema_decay(0.5, 8) == ema_decay(0.5, 1000) == 0.5 and ema_decay(0.5, 7) == 8 / 17
    assert ema_decay(0.9999, 10**6) == 0.9999


def test_update_moves_the_average_by_one_minus_the_decay() -> None:
    model = network()
    fill(model, 0.0)
    ema = EMA(model, 0.75)
    fill(model, 1.0)
    expected = 0.0
    for step in range(40):
        ema.update(step)
        decay = min(0.75, (step + 1) / (step + 10))
        expected = decay * expected + (1 - decay)
        for found in values(ema.model).values():
            assert list(found) == pytest.approx([expected])
    assert values(model) == {"r16": {1.0}, "r8": {1.0}}


def test_average_of_a_short_phase_forgets_its_start() -> None:
    model = network()
    ema = EMA(model, 0.9999)
    fill(model, 1.0)
    for step in range(100):
        ema.update(step)
    assert all(torch.all((value - 1).abs() < 1e-4) for value in ema.model.parameters())


def test_an_average_that_the_device_decides_to_move() -> None:
    model = network()
    plain, flagged, still = (EMA(model, 0.9) for _ in range(3))
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight))
    plain.update(3)
    flagged.update(3, torch.tensor(True))
    before = {name: value.clone() for name, value in still.model.state_dict().items()}
    still.update(3, torch.tensor(False))
    for name, value in plain.model.state_dict().items():
        torch.testing.assert_close(flagged.model.state_dict()[name], value)
        assert torch.equal(still.model.state_dict()[name], before[name])


def test_average_is_a_copy_without_gradients() -> None:
    model = network()
    ema = EMA(model, 0.9)
    assert not any(parameter.requires_grad for parameter in ema.model.parameters())
    assert all(parameter.requires_grad for parameter in model.parameters())
    before = {name: value.clone() for name, value in ema.model.state_dict().items()}
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in before.items())
    fill(model, 3.0)
    assert all(torch.equal(value, ema.model.state_dict()[name]) for name, value in before.items())
    ema.restart()
    assert values(ema.model) == {"r16": {3.0}, "r8": {3.0}}
    other = network()
    assert EMA(model, 0.9, other).model is other


def test_each_level_has_its_own_age() -> None:
    model = network()
    fill(model, 0.0)
    ema = EMA(model, 0.999)
    ema.ages = {"r16": 0, "r8": 90}
    fill(model, 1.0)
    ema.update(0)
    found = values(ema.model)
    assert list(found["r16"]) == pytest.approx([1 - 1 / 10]) and list(found["r8"]) == pytest.approx([1 - 91 / 100])
    assert ema.ages_after(7) == {"r16": 7, "r8": 97} and ema.ages == {"r16": 0, "r8": 90}


def test_frozen_levels_stay_and_do_not_age() -> None:
    model = network()
    fill(model, 0.0)
    for part in (model.levels["r8"], model.inputs):
        part.requires_grad_(False)
    ema = EMA(model, 0.5)
    fill(model, 1.0)
    ema.update(100)
    assert values(ema.model) == {"r16": {0.5}, "r8": {0.0}}
    assert ema.ages_after(5) == {"r16": 5, "r8": 0}


@pytest.mark.parametrize("frozen", [False, True])
def test_carry_continues_the_inner_average(frozen: bool) -> None:
    inner = network("r8")
    fill(inner, 2.0)
    before = EMA(inner, 0.9)
    before.ages = {"r8": 3}
    model = network()
    fill(model, 5.0)
    for part in (model.levels["r8"], model.inputs):
        part.requires_grad_(not frozen)
    ema = EMA(model, 0.9)
    ema.carry(before, 40)
    assert ema.ages == {"r16": 0, "r8": 43}
    assert values(ema.model) == {"r16": {5.0}, "r8": {2.0}}
    # Frozen weights are set to the published ones.
    assert values(model) == {"r16": {5.0}, "r8": {2.0 if frozen else 5.0}}
