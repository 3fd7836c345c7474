"""Levels that share no features with the level around them."""

from __future__ import annotations

import pytest
import torch

from builders.networks.parameters import adapters
from builders.training.distributed import Processes
from builders.training.phase import Phase
from builders.training.settings import phase_settings
from specs.errors import SpecError
from specs.load import load_entry
from specs.recipe import load_recipe
from specs.recipe_identity import fingerprint, written
from tests.helpers.made_up import MadeUp

SMALL = ["phases.p8={steps: 2, batch: 2}", "phases.p16={steps: 4, batch: 2}", "schedule.warmup=0"]


def phase(*changes: str) -> Phase:
    recipe = load_recipe("micro-test", [*SMALL, *changes])
    return Phase(phase_settings(recipe, load_entry("mdm-micro").graph, "p16"), Processes("cpu"))


def trained(start: Phase, before: Phase | None = None) -> Phase:
    start.initialize(before)
    data = MadeUp("photos", count=8, frames=1).load(16)
    for step in range(3):
        start.step(step, start.plan.draw(step, data))
    return start


def levels_that_see(found: Phase, level: int) -> list[bool]:
    """Whether the prediction of each level, outermost first, depends on the noisy image of one of them."""
    z = [torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(side)) for side in (16, 8)]
    other = [value.clone() for value in z]
    other[level] += torch.arange(z[level].shape[-1]) / 4
    result = []
    for network in (found.model.eval(), found.ema.model.eval()):
        with torch.no_grad():
            pair = [network(each, 500) for each in (z, other)]
        result.append([bool((one - two).abs().max() > 1e-6) for one, two in zip(*pair, strict=True)])
    assert result[0] == result[1]
    return result[0]


def test_levels_that_are_cut_share_no_features():
    nested, cut = trained(phase()), trained(phase("phases.p16.cut=[r8]"))
    assert levels_that_see(nested, 0) == levels_that_see(nested, 1) == [True, True]
    assert (levels_that_see(cut, 0), levels_that_see(cut, 1)) == ([True, False], [False, True])
    after = trained(phase("phases.p16.cut=[r8]", "phases.p16.initialise=before"), nested)
    assert (levels_that_see(after, 0), levels_that_see(after, 1)) == ([True, False], [False, True])


def test_averages_of_levels_that_are_cut_are_cut():
    nested = trained(phase("averages.lengths=[0.1]"))
    after = phase("phases.p16.cut=[r8]", "phases.p16.initialise=before", "averages.lengths=[0.1]")
    after.initialize(nested)
    assert any(value.any() for adapter in adapters(nested.model, ["r8"]) for value in adapter.parameters())
    average = after.power.averages[0.1].model
    assert not any(value.any() for adapter in adapters(average, ["r8"]) for value in adapter.parameters())


def test_the_convolutions_between_levels_are_found():
    model = phase().model
    found = adapters(model, ["r8"])
    assert found == [model.levels["r16"].nest.enter, model.levels["r16"].nest.leave]
    assert adapters(model, []) == adapters(model, ["r16"]) == []


def test_cut_is_part_of_a_recipe_only_if_it_is_set():
    plain, cut = (load_recipe("micro-test", changes) for changes in ([], ["phases.p16.cut=[r8]"]))
    assert fingerprint(plain) == fingerprint(load_recipe("micro-test", ["phases.p16.cut=[]"])) != fingerprint(cut)
    assert "cut" not in written(plain)["phases"]["p16"] and written(cut)["phases"]["p16"]["cut"] == ["r8"]


@pytest.mark.parametrize("label", ["r16", "r4"])
def test_only_inner_levels_can_be_cut(label):
    message = rf"error\[bad-value\]: phase 'p16' has no level '{label}' inside another one to cut"
    with pytest.raises(SpecError, match=message):
        load_recipe("micro-test", [f"phases.p16.cut=[{label}]"])
