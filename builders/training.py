"""Progressive training: each phase trains a level with all inside it, starting from the phase before.

All that is random depends on the recipe's seed, the phase and the step alone, so a run that was interrupted goes on
exactly as if it had not been.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from builders.data import ImageData, open_dataset
from builders.evaluation import draw_grid, held_out_losses
from builders.losses import level_losses, snr_weights, total_loss
from builders.network import NestedUNet, build_model, load_inner
from builders.observers import Observer, RunFacts, StepReport
from builders.process import DiffusionProcess, pyramid
from builders.run_folder import RunFolder, State
from specs.graph import EntryGraph
from specs.load import load_entry
from specs.recipe import LossSpec, PhaseSpec, Recipe

__all__ = ["Interrupted", "TrainingError", "train"]


class TrainingError(ValueError):
    """Training cannot start or go on; the message says why and what to do."""


class Interrupted(Exception):
    """Training was asked to stop; its state is written."""


def derived_seed(*parts: object) -> int:
    """A seed that depends on all parts and keeps neighbours apart."""
    digest = hashlib.sha256(":".join(str(part) for part in parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def sub_entry(graph: EntryGraph, label: str) -> EntryGraph:
    """The entry that a level with everything inside it is.

    Raises:
        TrainingError: the entry has no such level.
    """
    if label not in graph.labels:
        raise TrainingError(f"{graph.name} has no level {label}; its levels are {', '.join(graph.labels)}")
    return dataclasses.replace(graph, levels=graph.levels[graph.labels.index(label) :])


def rows_by_level(phase: PhaseSpec, graph: EntryGraph) -> list[int]:
    """How many rows each level of a phase's batch has, outermost first.

    Raises:
        TrainingError: the phase names other levels, or rows that fall inwards.
    """
    if not isinstance(phase.batch, int) and not set(phase.batch) <= set(graph.labels):
        wanted = ", ".join(graph.labels)
        raise TrainingError(f"'batch' of a phase that trains {graph.labels[0]} names the levels {wanted}")
    return list(phase.rows(graph.labels).values())


@dataclasses.dataclass
class Phase:
    """A phase while it runs: the network, its moving average and its optimizer."""

    name: str
    spec: PhaseSpec
    recipe: Recipe
    graph: EntryGraph
    rows: list[int]
    model: NestedUNet
    ema: NestedUNet
    optimizer: torch.optim.Optimizer
    process: DiffusionProcess
    loss: LossSpec
    weights: list[Tensor | None]
    #: Steps and samples of the phases before.
    steps_before: int
    samples_before: int

    @classmethod
    def start(cls, recipe: Recipe, entry: EntryGraph, name: str, device: torch.device) -> Phase:
        """The phase with fresh weights."""
        spec = recipe.phases[name]
        graph = sub_entry(entry, spec.train)
        torch.manual_seed(derived_seed(recipe.seed, "weights", name))
        model = build_model(graph).to(device)
        ema = build_model(graph, device, initialize=False)
        ema.load_state_dict(model.state_dict())
        settings = recipe.optimizer
        optimizer = torch.optim.AdamW(
            model.parameters(),
            lr=spec.learning_rate or settings.learning_rate,
            betas=settings.betas,
            eps=settings.epsilon,
            weight_decay=settings.weight_decay,
            fused=True,
        )
        loss = recipe.loss_of(spec)
        process = DiffusionProcess(graph, device)
        before = list(recipe.phases)[: list(recipe.phases).index(name)]
        counts = {
            earlier: max(rows_by_level(recipe.phases[earlier], sub_entry(entry, recipe.phases[earlier].train)))
            for earlier in before
        }
        return cls(
            name,
            spec,
            recipe,
            graph,
            rows_by_level(spec, graph),
            model,
            ema.requires_grad_(False),
            optimizer,
            process,
            loss,
            snr_weights(process, loss.weighting),
            sum(recipe.phases[earlier].steps for earlier in before),
            sum(recipe.phases[earlier].steps * counts[earlier] for earlier in before),
        )

    def take_over(self, weights: Mapping[str, Tensor], ema: Mapping[str, Tensor]) -> None:
        """Start the inner levels from what the phase before left."""
        load_inner(self.model, weights)
        # What is new in this phase averages from its own start.
        self.ema.load_state_dict(self.model.state_dict())
        load_inner(self.ema, ema)

    def learning_rate(self, step: int) -> float:
        """The rate at a step of the phase, from 0: linear warm-up, then constant or half a cosine."""
        schedule = self.recipe.schedule_of(self.spec)
        rate = self.spec.learning_rate or self.recipe.optimizer.learning_rate
        rate *= min(1.0, (step + 1) / max(1, min(schedule.warmup, self.spec.steps)))
        if schedule.decay == "cosine":
            rate *= 0.5 * (1 + math.cos(math.pi * step / self.spec.steps))
        return rate

    def step(self, step: int, data: ImageData) -> tuple[dict[str, float], float, float]:
        """One step: losses by level, learning rate, norm of the gradient.

        Raises:
            TrainingError: a loss or a gradient is not finite; the weights are as before the step.
        """
        images, t, eps, classes = self.batch(step, data)
        rate = self.learning_rate(step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        # Dropout draws from the global generator.
        torch.manual_seed(derived_seed(self.recipe.seed, "dropout", self.name, step))
        self.model.train()
        device = t.device
        half = device.type == "cuda" and torch.cuda.is_bf16_supported()
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            z = self.process.add_noise(images, eps, t)
            predictions = self.model(z, t, classes=classes)
        losses = level_losses(predictions, images, eps, t, self.process, self.loss, self.weights)
        total_loss(losses, self.loss).backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip).item()
        values = {label: value.item() for label, value in losses.items()}
        if not math.isfinite(norm):
            bad = [label for label, value in values.items() if not math.isfinite(value)]
            what = f"the loss of {' and '.join(bad)} is" if bad else "the gradient is"
            raise TrainingError(
                f"phase {self.name}, step {step + 1}: {what} not finite. The last checkpoint stands; "
                "a lower learning_rate or a longer warmup may help"
            )
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.average(step)
        return values, rate, norm

    def batch(self, step: int, data: ImageData) -> tuple[list[Tensor], Tensor, list[Tensor], Tensor | None]:
        """Clean images by level, time indices, noise and classes of a step; drawn on the CPU, the same everywhere."""
        rows = self.rows[-1]
        drawn = data.batch(self.samples_before + step * rows, rows)
        generator = torch.Generator().manual_seed(derived_seed(self.recipe.seed, "noise", self.name, step))
        images = [x[:count] for x, count in zip(pyramid(drawn["image"], self.graph), self.rows, strict=True)]
        t = torch.randint(0, self.process.steps, (rows,), generator=generator)
        eps = [torch.randn(x.shape, generator=generator) for x in images]
        classes = None
        if self.graph.classes is not None:
            dropped = torch.rand(rows, generator=generator) < self.recipe.drop.classes
            classes = drawn["classes"].masked_fill(dropped, self.graph.classes)
        device = next(self.model.parameters()).device
        images, eps = [x.to(device) for x in images], [x.to(device) for x in eps]
        return images, t.to(device), eps, None if classes is None else classes.to(device)

    @torch.no_grad()
    def average(self, step: int) -> None:
        """Move the average of the weights; early on it forgets faster (arXiv 2312.02696, section 3)."""
        decay = min(self.recipe.ema, (step + 1) / (step + 10))
        torch._foreach_lerp_(list(self.ema.parameters()), list(self.model.parameters()), 1 - decay)


def train(
    recipe: Recipe,
    folder: str | Path,
    *,
    observer: Observer | None = None,
    device: torch.device | str = "cpu",
    stop: Callable[[], bool] = lambda: False,
) -> Path:
    """Train as a recipe says, or go on with what stands in ``folder``.

    Args:
        recipe: what to do.
        folder: of the run; written are ``state.safetensors``, ``ema.safetensors`` (what ``zoo sample`` takes),
            ``recipe.json``, ``log.jsonl`` and ``grids/``.
        observer: told of everything.
        device: where to train.
        stop: asked after every step; True writes the state and ends.

    Returns:
        The path of the trained weights.

    Raises:
        TrainingError: recipe and entry do not fit, or the folder holds another run.
        Interrupted: ``stop`` said so.
    """
    observer, device = observer or Observer(), torch.device(device)
    entry = load_entry(recipe.entry).graph
    dataset = open_dataset(recipe.data)
    _check(recipe, entry, len(dataset.classes))
    # Steps seed the global generator, which belongs to the caller.
    generators = torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])
    with RunFolder(Path(folder), recipe, entry) as run, generators:
        state = run.read_state()
        status = "failed"
        try:
            _run_phases(_Training(recipe, entry, dataset, run, observer, device, stop), state)
            status = "finished"
        except (Interrupted, KeyboardInterrupt):
            status = "interrupted"
            raise
        finally:
            observer.on_end(status)
        return run.weights


@dataclasses.dataclass
class _Training:
    recipe: Recipe
    entry: EntryGraph
    dataset: Any
    run: RunFolder
    observer: Observer
    device: torch.device
    stop: Callable[[], bool]


def _check(recipe: Recipe, entry: EntryGraph, classes: int) -> None:
    for name, phase in recipe.phases.items():
        try:
            rows_by_level(phase, sub_entry(entry, phase.train))
        except TrainingError as error:
            raise TrainingError(f"recipe {recipe.name}, phase {name}: {error}") from None
    if entry.levels[0].channels != 3:
        raise TrainingError(f"{entry.name} is for images of {entry.levels[0].channels} channels; data has 3, RGB")
    if entry.text is not None:
        raise TrainingError(f"{entry.name} reads text, and {recipe.data} has classes; train an entry with classes")
    if entry.classes is not None and entry.classes != classes:
        raise TrainingError(f"{entry.name} has {entry.classes} classes, the data {recipe.data} has {classes}")


def _run_phases(training: _Training, state: State | None) -> None:
    recipe, entry = training.recipe, training.entry
    total = sum(phase.steps for phase in recipe.phases.values())
    names = list(recipe.phases)
    first = state.steps_done(recipe) if state else 0
    card = {"name": recipe.data, "licence": getattr(training.dataset.card, "licence", "unknown")}
    training.observer.on_start(RunFacts(recipe, entry, training.run.folder, total, first, str(training.device), card))
    weights: Mapping[str, Tensor] | None = None
    ema: Mapping[str, Tensor] = {}
    for name in names[names.index(state.phase) if state else 0 :]:
        phase = Phase.start(recipe, entry, name, training.device)
        done = 0
        if state is not None and state.phase == name:
            done = state.step
            state.restore(phase.model, phase.ema, phase.optimizer)
        elif weights is not None:
            phase.take_over(weights, ema)
        _run_phase(training, phase, done)
        weights, ema = phase.model.state_dict(), phase.ema.state_dict()


def _run_phase(training: _Training, phase: Phase, done: int) -> None:
    recipe, observer = training.recipe, training.observer
    observer.on_phase(phase.name, phase.graph, phase.spec.steps, done)
    if done == phase.spec.steps:
        return
    resolution = max(phase.graph.resolution, 1)
    data = training.dataset.load(resolution, "train", seed=recipe.seed)
    held_out = training.dataset.load(resolution, "held_out")
    for step in range(done, phase.spec.steps):
        started = time.perf_counter()
        losses, rate, norm = phase.step(step, data)
        count, last = phase.steps_before + step + 1, step + 1 == phase.spec.steps
        seconds = time.perf_counter() - started
        observer.on_step(StepReport(count, phase.name, step + 1, losses, rate, norm, seconds))
        if last or (recipe.every.evaluate and (step + 1) % recipe.every.evaluate == 0):
            observer.on_evaluate(count, held_out_losses(phase.ema, phase.process, held_out))
        if last or (recipe.every.samples and (step + 1) % recipe.every.samples == 0):
            grid = draw_grid(phase.ema, phase.process, data)
            path = training.run.write_grid(grid, f"{phase.name}-{step + 1:06d}")
            observer.on_grid(count, phase.name, grid, path)
        asked = training.stop()
        if asked or last or (recipe.every.checkpoint and (step + 1) % recipe.every.checkpoint == 0):
            path = training.run.write_state(phase.name, step + 1, phase.graph, phase.model, phase.ema, phase.optimizer)
            observer.on_checkpoint(count, path)
        final = last and phase.name == list(recipe.phases)[-1]
        if asked and not final:
            raise Interrupted
