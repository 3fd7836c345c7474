"""Muon: which parameters are matrices, and that they move as torch's Muon and AdamW move them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from builders.training.distributed import Processes
from builders.training.engine import muon
from builders.training.engine.muon import Muon, hidden_matrices
from builders.training.optimizers import OptimizerError, build_optimizer
from builders.training.phase import Phase
from builders.training.settings import phase_settings
from builders.training.state import TrainingState
from specs.load import load_entry
from specs.recipe import load_recipe
from specs.schemas.recipe import OptimizerSpec
from tests.helpers.made_up import MadeUp

SPEC = OptimizerSpec(name="muon", weight_decay=0.1)


def network(memory_format: torch.memory_format = torch.contiguous_format) -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.GroupNorm(2, 6), nn.Flatten(), nn.Linear(24, 2))
    return model.to(memory_format=memory_format)


def gradients(model: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for value in model.parameters():
        value.grad = torch.randn(value.shape, generator=generator).to(memory_format=torch.preserve_format)


def reference(steps: int) -> list[torch.Tensor]:
    """Return the parameters after steps of torch's Muon on 2-D copies, and of AdamW on the others."""
    model = network()
    weights = list(model.parameters())
    flat = {value: nn.Parameter(value.detach().flatten(1).clone()) for value in weights if value.dim() > 1}
    settings: dict[str, Any] = {"lr": 1e-2, "weight_decay": 0.1}
    matrices = torch.optim.Muon(flat.values(), **settings, adjust_lr_fn="match_rms_adamw")
    others = [value for value in weights if value not in flat]
    adamw = torch.optim.AdamW(others, **settings, betas=(0.9, 0.99), eps=1e-8, fused=True)
    for seed in range(steps):
        gradients(model, seed)
        for value, matrix in flat.items():
            matrix.grad = value.grad.flatten(1)
        matrices.step()
        adamw.step()
    return [flat[value].view(value.shape) if value in flat else value for value in weights]


def assert_moved_as_by_torch(model: nn.Module) -> None:
    """Compare parameters after three steps. bfloat16 may be rounded otherwise in products of several matrices."""
    for value, expected in zip(model.parameters(), reference(3), strict=True):
        torch.testing.assert_close(value, expected, rtol=0, atol=1e-4 if value.dim() > 1 else 0)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_matrices_move_as_by_torch_and_others_as_by_adamw(memory_format: torch.memory_format) -> None:
    model = network(memory_format)
    optimizer = build_optimizer(SPEC, list(model.parameters()), 1e-2)
    for seed in range(3):
        gradients(model, seed)
        optimizer.step()
    assert_moved_as_by_torch(model)


def test_learning_rate_of_a_group_reaches_its_matrices() -> None:
    model = network()
    factors = [1.0, 1.0, 1.0, 1.0, 0.1, 0.1]
    optimizer = build_optimizer(SPEC, list(model.parameters()), 1e-2, factors)
    assert sorted((group["matrix"], group["factor"]) for group in optimizer.param_groups) == [
        (False, 0.1), (False, 1.0), (True, 0.1), (True, 1.0),
    ]  # fmt: skip
    for group in optimizer.param_groups:
        group["lr"] = 0.0 if group["factor"] == 0.1 else 1.0
    before = [value.detach().clone() for value in model.parameters()]
    gradients(model, 0)
    optimizer.step()
    moved = [not torch.equal(value, old) for value, old in zip(model.parameters(), before, strict=True)]
    assert moved == [True, True, True, True, False, False]


def test_parameters_without_a_gradient_stay() -> None:
    model = network()
    optimizer = build_optimizer(SPEC, list(model.parameters()), 1e-2)
    gradients(model, 0)
    model[3].weight.grad = None
    before = model[3].weight.detach().clone()
    optimizer.step()
    assert torch.equal(model[3].weight, before) and model[3].weight not in optimizer.state
    assert model[0].weight in optimizer.state


def test_a_loaded_state_is_used() -> None:
    """accelerate loads the state of an optimizer into itself, which replaces its groups."""
    model = network()
    optimizer = build_optimizer(SPEC, list(model.parameters()), 1e-2)
    optimizer.load_state_dict(optimizer.state_dict())
    for seed in range(3):
        gradients(model, seed)
        optimizer.step()
    assert_moved_as_by_torch(model)


def test_embeddings_stems_heads_and_vectors_are_no_hidden_matrices() -> None:
    recipe = load_recipe("micro-test", ["optimizer={name: muon, learning_rate: 0.01}"])
    phase = Phase(phase_settings(recipe, load_entry("mdm-micro").graph, "p16"), Processes("cpu"))
    names = [name for name, _ in phase.trained]
    found = dict(zip(names, hidden_matrices(names, [value for _, value in phase.trained]), strict=True))
    others = {name for name, matrix in found.items() if not matrix and phase.model.get_parameter(name).dim() > 1}
    outer = {f"levels.{label}.{part}" for label in ("r16", "r8") for part in ("stem.weight", "head.conv.weight")}
    assert outer | {"inputs.classes.embedding.weight", "levels.r8.time.linear2.weight"} <= others
    assert all(name.startswith("inputs.") or name.split(".")[2] in ("stem", "head", "time") for name in others)
    assert found["levels.r16.nest.enter.weight"] and found["levels.r8.r8_down0_resnet.conv1.weight"]
    assert not any(matrix and name.endswith("bias") for name, matrix in found.items())
    group = next(group for group in phase.optimizer.param_groups if group["matrix"])
    assert {id(value) for value in group["params"]} == {id(phase.model.get_parameter(n)) for n in found if found[n]}


def test_a_phase_resumes_to_the_bit() -> None:
    recipe = load_recipe("micro-test", ["optimizer={name: muon, learning_rate: 0.01}", "phases.p16.batch=2"])
    settings = phase_settings(recipe, load_entry("mdm-micro").graph, "p16")
    data = MadeUp("photos", count=8, frames=1).load(16)
    straight, resumed = Phase(settings, Processes("cpu")), Phase(settings, Processes("cpu"))
    for step in range(3):
        straight.step(step, straight.plan.draw(step, data))
        if step == 1:
            tensors, facts = straight.tensors()
            saved = {name: value.clone() for name, value in tensors.items()}
            resumed.restore(TrainingState(straight.progress, saved, facts))
    resumed.step(2, resumed.plan.draw(2, data))
    weights = straight.model.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in resumed.model.state_dict().items())
    assert any(name.startswith("optimizer/momentum_buffer/levels") for name in tensors)


def test_divided_matrices_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(muon, "is_sharded", lambda _: True)
    with pytest.raises(ValueError, match="it needs whole matrices"):
        Muon(network().parameters())


def test_settings_of_both_parts() -> None:
    spec = OptimizerSpec(name="muon", betas=(0.8, 0.9), options={"momentum": 0.5, "nesterov": False})
    optimizer = build_optimizer(spec, list(network().parameters()), 1e-2)
    kinds = {group["matrix"]: group for group in optimizer.param_groups}
    assert (kinds[True]["momentum"], kinds[True]["nesterov"], kinds[False]["betas"]) == (0.5, False, (0.8, 0.9))
    with pytest.raises(OptimizerError, match="optimizer muon has no setting 'momentun'; it has betas"):
        build_optimizer(OptimizerSpec(name="muon", options={"momentun": 0.9}), list(network().parameters()), 1e-2)


@pytest.mark.parametrize("betas", [(0.9,), (0.9, 0.9, 0.9)])
def test_another_number_of_betas_is_refused(betas: tuple[float, ...]) -> None:
    spec = OptimizerSpec(name="muon", betas=betas)
    with pytest.raises(OptimizerError, match=f"rejects its settings.*betas must be two numbers, not {len(betas)}"):
        build_optimizer(spec, list(network().parameters()), 1e-2)
