"""Settings of a phase: the recipe's values with the phase's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from builders.training import start
from builders.training.errors import TrainingError
from builders.training.settings import PhaseSettings, phase_settings
from specs.load import load_entry
from specs.recipe import load_recipe, load_recipe_and_graph

GRAPH = load_entry("mdm-micro").graph


def settings(*changes: str, phase: str = "p16") -> PhaseSettings:
    return phase_settings(load_recipe("micro-test", changes), GRAPH, phase)


def test_a_phase_inherits_from_the_recipe() -> None:
    inner, outer = settings("initialise=mdm-micro", phase="p8"), settings()
    assert (inner.name, inner.graph.labels, inner.rows, inner.steps, inner.hours) == ("p8", ("r8",), (8,), 8, None)
    assert (outer.name, outer.graph, outer.rows, outer.steps) == ("p16", GRAPH, (4, 8), 6)
    assert (inner.source, outer.source) == ("mdm-micro", "before")
    assert outer.learning_rate == 2e-3 and (outer.schedule.warmup, outer.schedule.decay) == (2, "cosine")
    assert outer.loss.space == "v" and outer.carry.ema and not outer.carry.optimizer and outer.freeze == ()


def test_a_phase_changes_what_it_names() -> None:
    found = settings(
        "phases.p16={learning_rate: 1e-3, schedule: {decay: constant}, loss: {levels: {r8: 0}}, carry: {ema: false}}",
        "phases.p16.freeze=[r8]", "phases.p16.initialise=fresh",
    )  # fmt: skip
    assert found.learning_rate == 1e-3 and (found.schedule.warmup, found.schedule.decay) == (2, "constant")
    assert found.loss.space == "v" and found.labels_with_loss == ("r16",)
    assert not found.carry.ema and found.freeze == ("r8",) and found.source == "fresh"


def test_levels_of_earlier_phases_restart_at_a_lower_rate() -> None:
    lower, more = "schedule.restart=0.25", "phases.more={train: r16, steps: 1, batch: 2}"
    assert settings(lower, phase="p8").rate_factors == {} == settings(more, phase="more").rate_factors
    assert settings(lower).rate_factors == {"r8": 0.25}
    assert settings("phases.p16.schedule.restart=0.5", phase="p16").rate_factors == {"r8": 0.5}
    assert settings(lower, more, phase="more").rate_factors == {"r8": 0.25, "r16": 0.25}
    # A rate by level is the rate of that level.
    assert settings(lower, more, "learning_rates={r8: 2x}", phase="more").rate_factors == {"r8": 2.0, "r16": 0.25}
    # What is frozen is not trained, and other weights are not those of the phases before.
    frozen = settings(lower, "phases.p16={initialise: fresh, freeze: [r8]}", more, phase="more")
    assert frozen.rate_factors == {"r16": 0.25}
    assert settings(lower, "phases.p16.initialise=fresh", more, phase="more").rate_factors == {"r8": 0.25, "r16": 0.25}
    assert settings(lower, "phases.p16.initialise=fresh").rate_factors == {}


def test_learning_rate_and_end_by_steps() -> None:
    found = settings("schedule={warmup: 0, decay: cosine}")
    assert found.learning_rate_at(0, 0.0) == 2e-3 and found.learning_rate_at(3, 1e9) == pytest.approx(1e-3)
    assert [found.is_last(step, 1e9) for step in (4, 5)] == [False, True]


def test_learning_rate_and_end_by_hours() -> None:
    found = settings("schedule={warmup: 0, decay: cosine}", "phases.p16={steps: null, hours: 2}")
    assert found.learning_rate_at(1000, 3600.0) == pytest.approx(1e-3)
    assert [found.is_last(1000, seconds) for seconds in (7199.0, 7200.0)] == [False, True]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train": "r32"}, "recipe micro-test, phase p16: mdm-micro has no level r32; its levels are r16, r8"),
        ({"batch": {"r16": 1, "r32": 2}}, "recipe micro-test, phase p16: 'batch' may name only the levels r16, r8"),
    ],
)
def test_phases_that_were_not_checked(change: dict[str, object], message: str) -> None:
    """A recipe from Python may name levels that its entry does not have."""
    recipe = load_recipe("micro-test")
    phases = {**recipe.phases, "p16": recipe.phases["p16"].model_copy(update=change)}
    with pytest.raises(TrainingError, match=f"^{message}$"):
        phase_settings(recipe.model_copy(update={"phases": phases}), GRAPH, "p16")


def test_the_entry_is_loaded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = ["phases.p16=null", "phases.p8.steps=1"]
    recipe, graph = load_recipe_and_graph("micro-test", changes)
    assert graph == GRAPH and recipe == load_recipe("micro-test", changes)
    loaded: list[str] = []
    load = start.recipe_graph
    monkeypatch.setattr(start, "recipe_graph", lambda recipe: (loaded.append(recipe.entry), load(recipe))[1])
    start.train(recipe, tmp_path, graph=graph)
    assert not loaded
    start.train(recipe, tmp_path)
    assert loaded == ["mdm-micro"]
