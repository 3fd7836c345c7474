"""Short runs at one learning rate, from fresh weights."""

from __future__ import annotations

import math

from builders.measures.stable_rate import is_stable, short_losses
from specs.load import load_entry
from specs.recipe import load_recipe
from tests.helpers.made_up import MadeUp


def test_short_runs_differ_in_their_rate_alone():
    recipe = load_recipe("micro-test", ["phases.p16.batch=2", "phases.p16.freeze=[r8]", "phases.p8.steps=1"])
    data = MadeUp("photos", count=8, frames=1).load(16)

    def losses(rate: float, steps: int = 6, **changes: int) -> list[float]:
        return short_losses(recipe, load_entry("mdm-micro").graph, data, rate, steps, **changes)

    fast, slow, wild = losses(1e-2), losses(1e-7, 2), losses(1e30)
    assert len(fast) == 6 and slow[0] == fast[0] == wild[0]
    assert not is_stable(wild, 6) and len(wild) < 6 and not math.isfinite(wild[-1])
    warm = losses(1e-2, 2, warmup=2)
    assert warm[0] == fast[0] and len({warm[1], fast[1], slow[1]}) == 3
