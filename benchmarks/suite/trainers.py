"""One training step of the zoo and of the plain implementation, on the same batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.baseline.network import PlainUNet, load_from
from benchmarks.baseline.training import Training
from benchmarks.suite.inputs import RandomText, random_batch
from builders.diffusion.process import DiffusionProcess
from builders.training.batches import Batch
from builders.training.distributed import Processes
from builders.training.engine.compiled import torch_settings
from builders.training.engine.results import StartedStep, StepResult
from builders.training.phase import Phase
from builders.training.settings import phase_settings
from specs.graph import EntryGraph
from specs.schemas.recipe import Recipe

__all__ = ["encoder_of", "plain_step", "zoo_recipe", "zoo_step"]

#: Settings of AdamW, those of recipes.
ADAMW = {"lr": 1e-4, "betas": (0.9, 0.99), "eps": 1e-8, "weight_decay": 0.01}


def zoo_recipe(graph: EntryGraph, rows: int, **settings: Any) -> Recipe:
    """Return a recipe that trains all levels; ``settings`` are further keys."""
    phases = {"p": {"train": graph.labels[0], "steps": 1000, "batch": rows}}
    recipe = {"name": "benchmark", "entry": graph.name, "data": "noise", "phases": phases, "loss": {"space": "v"}}
    return Recipe.model_validate(recipe | settings)


def encoder_of(graph: EntryGraph, device: torch.device | str) -> Any:
    """Return a text encoder that computes nothing, or None if the entry reads no text."""
    return None if graph.text is None else RandomText(graph.text.width, graph.text.tokens, torch.device(device))


def zoo_step(
    graph: EntryGraph, rows: int, device: str, *, weights: Any = None, precision: str = "float32", **settings: Any
) -> tuple[Phase, Callable[[], StepResult | None]]:
    """Return a phase of training, and a function that takes one step of it.

    Args:
        graph: Graph of the entry.
        rows: Rows of the batch.
        device: Device to train on.
        weights: Initial weights. Default: fresh ones.
        precision: Precision of activations.
        **settings: Further keys of the recipe.
    """
    recipe = zoo_recipe(graph, rows, precision=precision, **settings)
    processes = Processes(device, precision)
    phase = Phase(phase_settings(recipe, graph, "p"), processes)
    if weights is not None:
        phase.model.load_state_dict(weights)
        phase.ema.restart()
    batch, encoder, steps = random_batch(graph, rows, processes.device), encoder_of(graph, device), iter(range(10**6))
    started: list[StartedStep] = []

    def step() -> StepResult | None:
        # As in a training, whose numbers are read one step late on a GPU.
        with torch_settings(processes.device, compiling=recipe.compile):
            started.append(phase.start(next(steps), batch, encoder=encoder))
            return started.pop(0).result() if len(started) > phase.lag else None

    return phase, step


def plain_step(
    graph: EntryGraph, rows: int, device: str, *, weights: Any, model: nn.Module | None = None, **parts: Any
) -> tuple[Training, Callable[[], object]]:
    """Return a plain training, and a function that takes one step of it.

    Args:
        graph: Graph of the entry.
        rows: Rows of the batch.
        device: Device to train on.
        weights: Initial weights, those of a network of the zoo.
        model: Network to train. Default: the plain one.
        **parts: Arguments of :class:`benchmarks.baseline.training.Training`; ``adamw`` holds further ones of AdamW.
    """
    model = load_from(PlainUNet(graph), weights) if model is None else model
    settings = ADAMW | parts.pop("adamw", {})
    training = Training(model.to(device), DiffusionProcess(graph, device).schedules, settings, **parts)
    batch, encoder = random_batch(graph, rows, device), encoder_of(graph, device)
    return training, lambda: training.step(*_arguments(batch), batch.conditions(encoder))


def _arguments(batch: Batch) -> tuple[Sequence[Tensor], Sequence[Tensor], Tensor]:
    return batch.images, batch.eps, batch.t
