"""Training steps that are made not finite, and an observer that records what is reported."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor

from builders.training import phase as phase_module
from builders.training.observers import Observer, StepReport


class Recorder(Observer):
    def __init__(self) -> None:
        self.steps: list[StepReport] = []
        self.readings: dict[int, Mapping[str, float]] = {}
        self.alarms: list[str] = []

    def on_step(self, report: StepReport) -> None:
        self.steps.append(report)

    def on_monitor(self, step: int, values: Mapping[str, float]) -> None:
        self.readings[step] = values

    def on_alarm(self, step: int, message: str) -> None:
        self.alarms.append(message)


def spoil(
    monkeypatch: pytest.MonkeyPatch, bad: Callable[[int], bool], how: Callable[[dict[str, Tensor]], None]
) -> None:
    """Change the losses of the steps, from 1, for which ``bad`` is true."""
    honest, count = phase_module.sample_losses, iter(range(1, 10_000))

    def sample_losses(*args: object) -> dict[str, Tensor]:
        losses = honest(*args)  # type: ignore[arg-type]
        if bad(next(count)):
            how(losses)
        return losses

    monkeypatch.setattr(phase_module, "sample_losses", sample_losses)


def first_row_is_nan(losses: dict[str, Tensor]) -> None:
    losses["r8"] = losses["r8"] * torch.tensor([math.nan, 1, 1, 1])
