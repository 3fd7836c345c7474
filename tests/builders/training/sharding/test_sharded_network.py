"""A network divided among processes, here one: what it computes, and whole tensors in and out."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, distributed, fx

from builders.networks.nested_unet import NestedUNet, build_model
from builders.training.averaging.averages import PowerAverages
from builders.training.ema import EMA
from builders.training.optimizers import OptimizerError, build_optimizer
from builders.training.sharding.network import process_mesh, shard, units
from builders.training.sharding.tensors import is_sharded, local, placed_like, whole
from specs.graph import TextInput
from specs.schemas.recipe import OptimizerSpec
from tests.helpers.graphs import rich_entry
from tests.helpers.networks import randomise

GRAPH = rich_entry(text=TextInput(7, tokens=5, project=8))


@pytest.fixture(scope="module")
def mesh() -> Iterator[Any]:
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    try:
        yield process_mesh(torch.device("cpu"), 1)
    finally:
        distributed.destroy_process_group()


@pytest.fixture
def plain() -> NestedUNet:
    return randomise(build_model(GRAPH))


@pytest.fixture
def sharded(plain: NestedUNet, mesh: Any) -> NestedUNet:
    model = copy.deepcopy(plain)
    shard(model, mesh)
    return model


def inputs() -> dict[str, Any]:
    generator = torch.Generator().manual_seed(1)
    text = GRAPH.text
    assert text is not None
    return {
        "z": [torch.randn(2, level.channels, *[level.resolution] * 2, generator=generator) for level in GRAPH.levels],
        "t": torch.tensor([10, 500]),
        "text": torch.randn(2, 3, text.width, generator=generator),
        "classes": torch.tensor([0, 1]),
        "scale": torch.tensor([8.0, 30.0]),
    }


def gradients(model: NestedUNet) -> dict[str, Tensor]:
    torch.manual_seed(2)
    model.train()
    torch.stack([each.square().mean() for each in model(**inputs())]).sum().backward()
    found = {name: local(value.grad).clone() for name, value in model.named_parameters() if value.grad is not None}
    model.zero_grad()
    return found


def test_blocks_and_their_text_parts_are_gathered_one_at_a_time(plain: NestedUNet) -> None:
    found = {}
    for level in GRAPH.levels:
        module = plain.levels[level.label]
        assert isinstance(module, fx.GraphModule)
        found[level.label] = units(module, level)
    assert found == {"r8": ["a", "b", "d", "u"], "r4": ["t.text", "r", "s", "t"]}


def test_a_sharded_network_computes_the_same(plain: NestedUNet, sharded: NestedUNet) -> None:
    assert all(is_sharded(each) for each in sharded.parameters())
    given = inputs()
    z, t = given.pop("z"), given.pop("t")
    with torch.no_grad():
        one, two = plain(z, t, **given), sharded(z, t, **given)
        encoded = sharded(z, t, sharded.encode(**given))
        bare, bare_sharded = plain(z, t), sharded(z, t)
    assert all(torch.equal(*each) for each in zip(one, two, strict=True))
    assert all(torch.equal(*each) for each in zip(one, encoded, strict=True))
    assert all(torch.equal(*each) for each in zip(bare, bare_sharded, strict=True))
    assert not any(is_sharded(each) for each in two)


@pytest.mark.parametrize("labels", [(), GRAPH.labels])
def test_gradients_are_the_same_with_dropout_and_checkpointing(
    plain: NestedUNet, sharded: NestedUNet, labels: tuple[str, ...]
) -> None:
    sharded.checkpoint(labels)
    one, two = gradients(plain), gradients(sharded)
    assert list(one) == list(two)
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_frozen_level_has_no_gradient(plain: NestedUNet, mesh: Any) -> None:
    plain.levels["r4"].requires_grad_(False)
    model = copy.deepcopy(plain)
    shard(model, mesh)
    one, two = gradients(plain), gradients(model)
    assert list(one) == list(two) and not any(name.startswith("levels.r4") for name in two)


def test_updates_are_seen_after_a_pass_without_gradients(plain: NestedUNet, sharded: NestedUNet) -> None:
    average = EMA(sharded, 0.5, sharded).model
    for _ in range(2):
        with torch.no_grad():
            seen, expected = average(**inputs()), plain(**inputs())
            for one, two in zip(plain.parameters(), average.parameters(), strict=True):
                one.mul_(1.5)
                local(two).mul_(1.5)
        assert all(torch.allclose(*each) for each in zip(seen, expected, strict=True))


def test_whole_tensors_go_in_and_come_out(plain: NestedUNet, sharded: NestedUNet) -> None:
    changed = {name: value + 1 for name, value in plain.state_dict().items()}
    sharded.load_state_dict(changed)
    found = whole(sharded.state_dict(), keep=True)
    assert list(found) == list(changed) and all(torch.equal(found[name], changed[name]) for name in changed)
    assert whole(sharded.state_dict(), keep=False) == {}
    sharded.load_state_dict(sharded.state_dict())  # its own are taken as they are
    with pytest.raises(RuntimeError, match="Unexpected key"):
        sharded.load_state_dict({**changed, "levels.r2.stem.weight": torch.zeros(1)})


def test_a_tensor_of_another_shape_stays_whole(sharded: NestedUNet) -> None:
    weight = next(sharded.parameters())
    step = torch.tensor(3.0)
    assert placed_like(step, weight) is step and placed_like(step, step) is step
    placed = placed_like(torch.zeros(weight.shape), weight)
    assert is_sharded(placed) and placed_like(placed, weight) is placed
    assert local(step) is step and local(placed).shape == weight.shape


@pytest.mark.parametrize("name", ["adamw", "sgd", "timm:lion"])
def test_optimizers_take_the_same_steps(name: str, plain: NestedUNet, sharded: NestedUNet) -> None:
    ours, theirs = ([*model.inputs.parameters()] for model in (plain, sharded))
    for parameters in (ours, theirs):
        optimizer = build_optimizer(OptimizerSpec(name=name, learning_rate=0.1), parameters, 0.1)
        for parameter in parameters:
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()
    assert all(torch.equal(one, local(two)) for one, two in zip(ours, theirs, strict=True))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("adafactor", "aten.pow_"),
        ("timm:adafactor", "its RMS is not divided"),
        ("muon", "it needs whole matrices"),
    ],
)
def test_optimizers_that_need_whole_tensors_are_refused(name: str, reason: str, sharded: NestedUNet) -> None:
    spec = OptimizerSpec(name=name, learning_rate=0.1)
    with pytest.raises(OptimizerError, match=f"{name} .*does not work with sharding: {reason}.*Use another one"):
        build_optimizer(spec, list(sharded.parameters()), 0.1)


def test_the_average_of_a_sharded_network_moves(plain: NestedUNet, mesh: Any) -> None:
    networks = [copy.deepcopy(plain) for _ in range(2)]
    for each in networks:
        shard(each, mesh)
    one, two = EMA(plain, 0.9), EMA(networks[0], 0.9, networks[1])
    with torch.no_grad():
        for mine, theirs in zip(plain.parameters(), networks[0].parameters(), strict=True):
            mine.add_(1)
            local(theirs).add_(1)
    one.update(3)
    two.update(3)
    found = whole(two.model.state_dict(), keep=True)
    assert all(torch.equal(value, found[name]) for name, value in one.model.state_dict().items())
    two.restart()
    found = whole(two.model.state_dict(), keep=True)
    assert all(torch.equal(value, found[name]) for name, value in plain.state_dict().items())


def test_power_averages_of_a_sharded_network_move_and_are_restored(plain: NestedUNet, mesh: Any) -> None:
    networks = [copy.deepcopy(plain) for _ in range(3)]
    for each in networks:
        shard(each, mesh)
    one = PowerAverages(plain, {0.1: copy.deepcopy(plain)}, 0)
    two, other = (PowerAverages(networks[0], {0.1: average}, 0) for average in networks[1:])
    for step in range(2):
        with torch.no_grad():
            for mine, theirs in zip(plain.parameters(), networks[0].parameters(), strict=True):
                mine.add_(1)
                local(theirs).add_(1)
        one.update(step)
        two.update(step)
    tensors = two.tensors()
    other.restore(lambda prefix, _: {name.removeprefix("0.1/"): value for name, value in tensors.items()}, two.facts())
    for found in (whole(tensors, keep=True), whole(other.tensors(), keep=True)):
        assert all(torch.equal(value, found[name]) for name, value in one.tensors().items())
