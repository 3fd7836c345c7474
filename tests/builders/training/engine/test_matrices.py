"""Steps of Muon for matrices of one shape at once, against torch's, which takes them one by one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from builders.training.engine import matrices
from builders.training.engine.matrices import Moving, MuonSettings, move_matrices

#: Several of one shape, wide and tall ones, and a single column.
SHAPES = [(6, 20), (20, 6), (6, 20), (4, 4), (20, 6), (6, 20), (5, 1)]


@pytest.mark.parametrize(
    "options",
    [
        {"adjust_lr_fn": "match_rms_adamw"},
        {"adjust_lr_fn": "original", "nesterov": False, "momentum": 0.8},
        {"adjust_lr_fn": "spectral_unclamped", "ns_steps": 3},
        {"weight_decay": 0.0},
    ],
)
@pytest.mark.parametrize("at_once", [2**18, 256, 1])
def test_matrices_move_as_by_torch(options: dict[str, Any], at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matrices, "AT_ONCE", at_once)
    generator = torch.Generator().manual_seed(0)
    weights = [torch.randn(shape, generator=generator) for shape in SHAPES]
    theirs = [nn.Parameter(value.clone()) for value in weights]
    optimizer = torch.optim.Muon(theirs, lr=0.1, **options)
    settings = MuonSettings(**{name: optimizer.defaults[name] for name in MuonSettings._fields})
    momenta = [torch.zeros_like(value) for value in weights]
    for _ in range(3):
        for value in theirs:
            value.grad = torch.randn(value.shape, generator=generator)
        gradients = [value.grad.clone() for value in theirs if value.grad is not None]
        optimizer.step()
        move_matrices([Moving(*each) for each in zip(weights, gradients, momenta, strict=True)], settings)
    for value, momentum, expected in zip(weights, momenta, theirs, strict=True):
        # bfloat16 may be rounded otherwise in products of several matrices.
        torch.testing.assert_close(value, expected.detach(), rtol=0, atol=2e-3)
        assert torch.equal(momentum, optimizer.state[expected]["momentum_buffer"])


def test_matrices_of_one_shape_are_computed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[torch.Size] = []
    real = torch.baddbmm
    monkeypatch.setattr(torch, "baddbmm", lambda x, *rest, **how: sizes.append(x.shape) or real(x, *rest, **how))
    settings = MuonSettings(0.1, 0.0, 0.9, True, (3.4445, -4.775, 2.0315), 1, 1e-7, None)
    moved = [Moving(torch.zeros(shape), torch.ones(shape), torch.zeros(shape)) for shape in SHAPES]
    move_matrices(moved, settings)
    assert sorted(size[0] for size in sizes) == [1, 1, 1, 1, 2, 2, 3, 3]
