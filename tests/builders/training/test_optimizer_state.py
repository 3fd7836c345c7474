"""How many numbers an optimizer keeps for each weight, as plans count them."""

from __future__ import annotations

import pytest
import torch

from builders.training.optimizers import build_optimizer
from specs.schemas.optimizers import TORCH_OPTIMIZERS, state_copies
from specs.schemas.recipe import OptimizerSpec

CASES = [(name, {}) for name in TORCH_OPTIMIZERS]
CASES += [
    ("sgd", {"momentum": 0.9}), ("adamw", {"amsgrad": True}), ("rmsprop", {"momentum": 0.9, "centered": True}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "options"), CASES)
def test_numbers_per_weight(name, options):
    parameters = [torch.nn.Parameter(torch.randn(64, 64)), torch.nn.Parameter(torch.randn(64))]
    optimizer = build_optimizer(OptimizerSpec(name=name, options=options), parameters, 1e-4)
    for parameter in parameters:
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()
    kept = sum(value.numel() for state in optimizer.state.values() for value in state.values() if value is not None)
    # Factored second moments are rows and columns; step counts are single numbers.
    assert kept / sum(each.numel() for each in parameters) == pytest.approx(state_copies(name, options), abs=0.05)
