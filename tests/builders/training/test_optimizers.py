"""Optimizers by name: every one can be built, and resumes from a saved state to the bit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from builders.training.optimizers import OptimizerError, build_optimizer, optimizer_state, restore_optimizer
from specs.schemas.optimizers import TIMM_OPTIMIZERS, TORCH_OPTIMIZERS
from specs.schemas.recipe import OptimizerSpec

NAMES = [*TORCH_OPTIMIZERS, *(f"timm:{name}" for name in TIMM_OPTIMIZERS)]


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(16, 2))


def step(model: nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> None:
    torch.manual_seed(seed)
    model(torch.randn(4, 3, 4, 4)).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()


@pytest.mark.parametrize("name", NAMES)
def test_resumes_to_the_bit(name: str) -> None:
    spec = OptimizerSpec(name=name)
    straight, model = network(), network()
    first = build_optimizer(spec, list(straight.parameters()), 1e-2)
    second = build_optimizer(spec, list(model.parameters()), 1e-2)
    before = [value.clone() for value in straight.parameters()]
    for seed in range(4):
        step(straight, first, seed)
    assert any(not torch.equal(a, b) for a, b in zip(before, straight.parameters(), strict=True))
    for seed in range(2):
        step(model, second, seed)
    tensors, facts = optimizer_state(second, list(model.named_parameters()))
    tensors = {key: value.clone() for key, value in tensors.items()}
    other = network()
    other.load_state_dict(model.state_dict())
    third = build_optimizer(spec, list(other.parameters()), 1e-2)
    restore_optimizer(third, list(other.named_parameters()), tensors, facts)
    for seed in range(2, 4):
        step(other, third, seed)
    assert all(torch.equal(a, b) for a, b in zip(straight.parameters(), other.parameters(), strict=True))


def test_the_libraries_have_every_listed_optimizer() -> None:
    from timm.optim import list_optimizers

    have = {name.lower() for name in vars(torch.optim)}
    assert set(TORCH_OPTIMIZERS) <= have and set(TIMM_OPTIMIZERS) <= set(list_optimizers())


def test_settings_reach_the_optimizer() -> None:
    parameters = list(network().parameters())
    paper = build_optimizer(OptimizerSpec(), parameters, 1e-3)
    assert isinstance(paper, torch.optim.AdamW)
    group = paper.param_groups[0]
    assert (group["betas"], group["weight_decay"], group["eps"], group["lr"]) == ((0.9, 0.99), 0.01, 1e-8, 1e-3)
    sgd = build_optimizer(OptimizerSpec(name="sgd", options={"momentum": 0.9}), parameters, 1e-3)
    assert sgd.param_groups[0]["momentum"] == 0.9 and sgd.param_groups[0]["weight_decay"] == 0
    lion = build_optimizer(OptimizerSpec(name="lion", betas=(0.8, 0.9)), parameters, 1e-3)
    assert type(lion).__module__.startswith("timm") and lion.param_groups[0]["betas"] == (0.8, 0.9)
    assert type(build_optimizer(OptimizerSpec(name="timm:adamw"), parameters, 1e-3)).__name__ == "AdamW"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "sgd", "betas": (0.9, 0.9)}, "optimizer sgd has no setting 'betas'; it has .*momentum"),
        ({"name": "sgd", "epsilon": 1e-8}, "optimizer sgd has no setting 'epsilon'"),
        ({"name": "lion", "options": {"momentun": 0.9}}, "optimizer lion has no setting 'momentun'"),
        ({"name": "adamw", "betas": (0.9,)}, r"optimizer adamw rejects its settings \(betas \(0.9,\)"),
        ({"name": "sgd", "options": {"lr": 1.0}}, "optimizer sgd has no setting 'lr'"),
        ({"options": {"foreach": True, "fused": True}}, "optimizer adamw rejects its settings .*fused.* and .*foreach"),
        # Settings that are only checked in a step.
        ({"name": "timm:lamb", "options": {"max_grad_norm": "abc"}}, "optimizer timm:lamb rejects its settings"),
        ({"name": "adafactor", "options": {"eps": (1.0, 2.0, 3.0)}}, "optimizer adafactor rejects its settings"),
        ({"name": "adafactor", "epsilon": 1e-8}, "optimizer adafactor rejects its settings .epsilon 1e-08"),
    ],
)
def test_a_wrong_setting_is_reported(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(OptimizerError, match=message):
        build_optimizer(OptimizerSpec(**settings), list(network().parameters()), 1e-3)


@pytest.mark.parametrize("options", [{"foreach": True}, {"fused": False}])
def test_implementations_that_exclude_the_fused_one(options: dict[str, Any]) -> None:
    model = network()
    optimizer = build_optimizer(OptimizerSpec(options=options), list(model.parameters()), 1e-3)
    assert not optimizer.param_groups[0]["fused"]
