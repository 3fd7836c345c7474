"""A study of arms with made-up results: three arms, one lower in p1 than the others, and noise that seeds share."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

from registry.study_runs.results import Curve, RunResult
from specs.arms import LoadedArmStudy
from specs.schemas.arms import ArmStudy

ARMS = {"nested": "Two levels.", "flat": "One level of equal cost.", "cut": "Without the features of the inner level."}
CONTRASTS: dict[str, Any] = {
    "sharing": {"arms": ["nested", "flat"], "measure": "p1", "primary": True},
    "features": {"arms": ["nested", "cut"], "measure": "p1", "primary": True},
    "quality": {"arms": ["nested", "flat"], "measure": "p2"},
}


def made_up_study(**changes: Any) -> ArmStudy:
    """A study of three arms and eight seeds."""
    facts: dict[str, Any] = {
        "name": "made-up",
        "summary": "What nesting is worth.",
        "hypotheses": "Nested is lower than flat.\n\nIt is lower than cut.",
        "data": "noto-emoji-64",
        "base": {},
        "arms": {name: {"summary": summary} for name, summary in ARMS.items()},
        "seeds": 8,
        "budget": {"training_flops": 1e12},
        "contrasts": CONTRASTS,
    }
    return ArmStudy.model_validate(facts | changes)


def loaded_study(**changes: Any) -> LoadedArmStudy:
    """The same as it is loaded, without the recipes of its arms."""
    return LoadedArmStudy(made_up_study(**changes), (), Path("made-up.yaml"))


def made_up_results(seeds: int = 8, arms: tuple[str, ...] = tuple(ARMS)) -> list[RunResult]:
    """Results of all runs."""
    return [made_up_result(arm, seed) for arm in arms for seed in range(seeds)]


def made_up_result(arm: str, seed: int, **changes: Any) -> RunResult:
    """The result of one run."""
    shared, own = random.Random(seed), random.Random(f"{arm} {seed}")
    p1 = 0.2 + 0.02 * shared.gauss(0, 1) + 0.002 * own.gauss(0, 1) - 0.02 * (arm == "nested")
    steps = (100, 200, 400)
    curve = Curve(
        steps=steps,
        flops=tuple(step * 2.5e9 for step in steps),
        seconds=tuple(step * (0.4 + 0.01 * seed) for step in steps),
        values=tuple(p1 * (1 + 40 / step) + 0.01 * own.gauss(0, 1) for step in steps),
    )
    facts = [
        {"noise_scales": {"total": 30 + own.random(), "r16": None}, "norms": {"total": {"r32": 1 + own.random()}}}
        for _ in steps
    ]
    values: dict[str, Any] = {
        "study": "made-up",
        "arm": arm,
        "seed": seed,
        "registered": "ab" * 32,
        "commit": "0123456789abcdef",
        "entry": f"{arm}-n32",
        "hash": f"{arm:0<16}",
        "recipe": "r",
        "steps": {"p32": 400},
        "training_flops": 1.0e12 + seed * 1e8,
        "seconds": 160.0 + seed,
        "cpu_seconds": 158.0,
        "measures": {"p1": p1, "p2": 0.05 + 0.01 * own.gauss(0, 1), "val_v_loss/r32": p1 / 2}
        | {f"p1/{ratio}": p1 * math.exp(-ratio / 3) for ratio in range(-5, 7)},
        "series": {"gradients": {"steps": list(steps), "facts": facts}},
        "curves": {"val_v_loss/r32": curve},
        "environment": {"hardware": "made-up CPU", "torch": "2.14.1"},
        "date": "2026-11-26T20:00:00+00:00",
    }
    return RunResult.model_validate(values | changes)
