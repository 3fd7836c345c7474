"""Short trainings of the micro recipe, and the losses of their steps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from builders.training.observers import Observer, StepReport
from builders.training.start import train
from specs.recipe import load_recipe


class Losses(Observer):
    """Records the losses of every step."""

    def __init__(self) -> None:
        self.steps: list[dict[str, float]] = []

    def on_step(self, report: StepReport) -> None:
        self.steps.append(dict(report.losses))


def recorded_losses(folder: Path, changes: Sequence[str], **options: Any) -> list[dict[str, float]]:
    """Train the recipe ``micro-test`` with changes, and return the losses by level of every step."""
    seen = Losses()
    train(load_recipe("micro-test", [*changes]), folder, observer=seen, **options)
    return seen.steps
