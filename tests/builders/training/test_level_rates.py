"""Learning rates by level: groups of parameters, updates and resuming."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from builders.networks.parameters import level_of
from builders.training.distributed import Processes
from builders.training.optimizers import build_optimizer, optimizer_state, restore_optimizer
from builders.training.phase import Phase
from builders.training.settings import phase_settings
from specs.load import load_entry
from specs.recipe import load_recipe
from specs.schemas.recipe import OptimizerSpec
from tests.helpers.made_up import MadeUp

SGD = ["optimizer={name: sgd, learning_rate: 0.1}", "schedule={warmup: 4, decay: cosine}", "clip=1e9"]


def moved(data, *changes):
    """How far each parameter moves in the second step of p16, by name, and the phase."""
    recipe = load_recipe("micro-test", [*SGD, "phases.p16.batch=2", *changes])
    phase = Phase(phase_settings(recipe, load_entry("mdm-micro").graph, "p16"), Processes("cpu"))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():  # fresh networks have zeros that stop the gradient
        for value in phase.model.parameters():
            value.add_(torch.randn(value.shape, generator=generator) * 0.02)
    before = {name: value.detach().clone() for name, value in phase.model.named_parameters()}
    phase.step(1, phase.plan.draw(1, data))
    return {name: value.detach() - before[name] for name, value in phase.model.named_parameters()}, phase


def test_each_level_moves_by_its_own_rate():
    data = MadeUp("photos", count=8, frames=1).load(16)
    plain, usual = moved(data)
    changed, phase = moved(data, "phases.p16.learning_rates={r8: 0.1x, r16: 0.3}")
    assert len(usual.optimizer.param_groups) == 1 and "factor" not in usual.optimizer.param_groups[0]
    rate = phase.settings.learning_rate_at(1, 0)
    assert sorted(group["lr"] for group in phase.optimizer.param_groups) == pytest.approx([0.1 * rate, 3 * rate])
    for name, step in changed.items():
        factor = {"r8": 0.1, "r16": 3.0}[level_of(name, ("r16", "r8"))]
        torch.testing.assert_close(step, factor * plain[name], rtol=1e-2, atol=1e-6)
    assert any(step.abs().max() > 1e-4 for step in plain.values())


def test_groups_of_rates_resume_to_the_bit():
    def built():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
        return model, build_optimizer(OptimizerSpec(), list(model.parameters()), 0.1, [0.5, 1.0, 0.5, 0.5])

    def step(model, optimizer, seed):
        torch.manual_seed(seed)
        model(torch.randn(5, 3)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    model, optimizer = built()
    assert [(group["lr"], len(group["params"])) for group in optimizer.param_groups] == [(0.05, 3), (0.1, 1)]
    step(model, optimizer, 1)
    tensors, facts = optimizer_state(optimizer, list(model.named_parameters()))
    tensors, weights = ({name: each.clone() for name, each in found.items()} for found in (tensors, model.state_dict()))
    assert "factor" not in facts
    other, resumed = built()
    other.load_state_dict(weights)
    restore_optimizer(resumed, list(other.named_parameters()), tensors, facts)
    for pair in ((model, optimizer), (other, resumed)):
        step(*pair, 2)
    assert all(torch.equal(one, same) for one, same in zip(model.parameters(), other.parameters(), strict=True))
