"""Paired runs: entries that share a level share its initial weights, order of data, times and noise."""

from __future__ import annotations

import pytest
import torch

from builders.networks.nested_unet import build_model
from builders.networks.parameters import draw_by_name
from builders.training.distributed import Processes
from builders.training.phase import Phase
from builders.training.reading.noise import BatchShape, draw_by_level, draw_by_row
from builders.training.settings import phase_settings
from specs.load import load_entry
from specs.recipe import load_recipe
from specs.recipe_identity import fingerprint, written
from specs.schemas.recipe import DropSpec

NESTED = load_entry("mdm-micro").graph
INNER = NESTED.inner("r8")
KEY = (3, "p", 5)


@pytest.fixture(scope="module")
def recipe():
    return load_recipe("micro-test", ["paired=true"])


def test_weights_depend_on_seed_and_name_alone():
    found = []
    for graph, seed, other in ((NESTED, 1, 0), (INNER, 1, 7), (NESTED, 2, 0)):
        torch.manual_seed(other)
        model = build_model(graph)
        draw_by_name(model, seed)
        found.append(model.state_dict())
    nested, inner, second = found
    assert all(torch.equal(nested[name], value) for name, value in inner.items())
    drawn = [name for name, value in nested.items() if not torch.equal(value, second[name])]
    assert {name.split(".")[1] for name in drawn if name.startswith("levels")} == {"r8", "r16"}
    assert nested["levels.r16.stem.weight"].std() > 0


@pytest.mark.parametrize("name", ["mdm-nano-v", "mdm-nano.text"])
def test_what_is_drawn_and_what_is_set_stays_so(name):
    graph = load_entry(name).graph
    graph = graph.inner(graph.labels[-1])
    torch.manual_seed(0)
    model = build_model(graph)
    before = {key: value.clone() for key, value in model.named_parameters()}
    draw_by_name(model, 4)
    for key, value in model.named_parameters():
        if before[key].unique().numel() == 1:
            assert torch.equal(value, before[key]), key
        elif set(before[key].unique().tolist()) != {0.0, 1.0}:
            assert not torch.equal(value, before[key]), key
            assert value.std().item() == pytest.approx(before[key].std().item(), rel=0.7), key


def test_noise_of_a_level_is_the_same_alone_and_nested():
    drop = DropSpec(classes=0.5)
    nested = draw_by_level(BatchShape(NESTED, (3, 4)), 1000, drop, *KEY)
    inner = draw_by_level(BatchShape(INNER, (4,)), 1000, drop, *KEY)
    outer = draw_by_level(BatchShape(NESTED, (2, 4), (1, 2)), 1000, drop, *KEY)
    assert torch.equal(nested.eps[1], inner.eps[0]) and torch.equal(nested.t, inner.t)
    assert torch.equal(nested.dropped["classes"], inner.dropped["classes"])
    assert torch.equal(nested.eps[0][1:2], outer.eps[0]) and torch.equal(nested.t[1::2], outer.t)
    by_row = draw_by_row(BatchShape(NESTED, (3, 4)), 1000, drop, *KEY)
    assert torch.equal(nested.t, by_row.t) and not torch.equal(nested.eps[0], by_row.eps[0])
    other = draw_by_level(BatchShape(NESTED, (3, 4)), 1000, drop, 4, "p", 5)
    assert not torch.equal(nested.eps[0], other.eps[0]) and not torch.equal(nested.eps[1], other.eps[1])
    everything = torch.cat([each.flatten() for each in nested.eps])
    assert abs(everything.mean()) < 0.15 and abs(everything.std() - 1) < 0.1


def test_noise_of_the_outer_level_does_not_depend_on_the_inner_one():
    with_shared = load_entry("mdm-micro", overrides=["process.noise={levels: shared}"]).graph
    plain = draw_by_level(BatchShape(NESTED, (4, 4)), 1000, DropSpec(), *KEY)
    shared = draw_by_level(BatchShape(with_shared, (4, 4)), 1000, DropSpec(), *KEY)
    assert torch.equal(plain.eps[0], shared.eps[0]) and not torch.equal(plain.eps[1], shared.eps[1])


def test_a_phase_is_paired_if_the_recipe_is(recipe):
    one = Phase(phase_settings(recipe, NESTED, "p8"), Processes("cpu"))
    other = Phase(phase_settings(recipe, NESTED, "p16"), Processes("cpu"))
    assert one.plan.noise == other.plan.noise == "levels"
    assert one.plan.places(3) == other.plan.places(3)  # of the same order of samples, that of the seed
    inner = one.model.state_dict()
    assert all(torch.equal(other.model.state_dict()[name], value) for name, value in inner.items())
    assert all(torch.equal(other.ema.model.state_dict()[name], value) for name, value in inner.items())
    usual = Phase(phase_settings(load_recipe("micro-test"), NESTED, "p8"), Processes("cpu"))
    assert usual.plan.noise == "rows"


def test_a_run_that_is_not_paired_is_as_before(recipe):
    usual = load_recipe("micro-test")
    assert "paired" not in written(usual) and written(recipe)["paired"] is True
    assert fingerprint(usual) != fingerprint(recipe)
    assert fingerprint(usual) == fingerprint(recipe.model_copy(update={"paired": False}))
