"""Progressive training: each phase trains a level with all inside it, starting from the phase before.

All that is random depends on the recipe's seed, the phase and the step alone, so a run that was interrupted goes on
exactly as if it had not been.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from builders.batches import Encoder, read_batches
from builders.data import open_dataset
from builders.evaluation import draw_grid, held_out_losses
from builders.growth import TrainingError, sub_entry
from builders.monitor import CollapseAlarm, Monitor
from builders.observers import Observer, RunFacts, StepReport
from builders.phase import Phase, StepResult, rows_by_level
from builders.processes import Processes
from builders.run_folder import RunFolder, Standing, State
from specs.graph import EntryGraph
from specs.load import load_entry
from specs.recipe import Recipe

__all__ = ["Interrupted", "TrainingError", "train"]


class Interrupted(Exception):
    """Training was asked to stop; its state is written."""


def train(
    recipe: Recipe,
    folder: str | Path,
    *,
    observer: Observer | None = None,
    device: torch.device | str = "cpu",
    stop: Callable[[], bool] = lambda: False,
) -> Path:
    """Train as a recipe says, or go on with what stands in ``folder``.

    Under ``accelerate launch`` or ``torchrun`` every process calls this; the first one writes and tells the observer.

    Args:
        recipe: what to do.
        folder: of the run; written are ``state.safetensors``, ``ema.safetensors`` (what ``zoo sample`` takes),
            ``recipe.json``, ``log.jsonl``, ``grids/`` and ``checkpoints/``.
        observer: told of everything.
        device: where to train.
        stop: asked after every step; True writes the state and ends.

    Returns:
        The path of the trained weights.

    Raises:
        TrainingError: recipe and entry do not fit, or steps were not finite.
        CheckpointError: the folder holds another run, or cannot be written.
        Interrupted: ``stop`` said so.
    """
    entry = load_entry(recipe.entry).graph
    dataset = open_dataset(recipe.data)
    _check(recipe, entry, dataset)
    encoder = _open_encoder(recipe, entry)
    partial = any(not recipe.loss_of(p).weight(label) for p in recipe.phases.values() for label in entry.labels)
    processes = Processes(device, recipe.precision, unused=partial)
    observer = observer if observer is not None and processes.main else Observer()
    # Steps seed the global generator, which belongs to the caller.
    generators = torch.random.fork_rng(devices=[processes.device] if processes.device.type == "cuda" else [])
    with RunFolder(Path(folder), recipe, entry, main=processes.main) as run, generators:
        _check_rows(recipe, entry, processes.count)
        processes.wait()
        state = run.read_state()
        status = "failed"
        try:
            _Training(recipe, entry, dataset, encoder, run, observer, processes, stop).run(state)
            status = "finished"
        except (Interrupted, KeyboardInterrupt):
            status = "interrupted"
            raise
        finally:
            observer.on_end(status)
        return run.weights


def _check(recipe: Recipe, entry: EntryGraph, dataset: Any) -> None:
    for name, phase in recipe.phases.items():
        try:
            rows_by_level(phase, sub_entry(entry, phase.train))
        except TrainingError as error:
            raise TrainingError(f"recipe {recipe.name}, phase {name}: {error}") from None
    if entry.levels[0].channels != 3:
        raise TrainingError(f"{entry.name} is for images of {entry.levels[0].channels} channels; data has 3, RGB")
    classes = len(dataset.classes)
    if entry.classes is not None and entry.classes != classes:
        raise TrainingError(
            f"{entry.name} has {entry.classes} classes, the data {recipe.data_name} has {classes}; train an entry that "
            f"extends it with 'inputs: {{classes: {classes}}}' in its innermost level, or one that reads text"
        )


def _check_rows(recipe: Recipe, entry: EntryGraph, processes: int) -> None:
    for name, phase in recipe.phases.items():
        fewest = min(rows_by_level(phase, sub_entry(entry, phase.train)))
        if fewest < processes:
            raise TrainingError(
                f"phase {name} has a level with {fewest} rows, which {processes} processes cannot share; "
                "raise its batch or start fewer processes"
            )


def _open_encoder(recipe: Recipe, entry: EntryGraph) -> Encoder | None:
    """What turns captions into the tokens that the entry reads; None if it reads none."""
    if entry.text is None:
        return None
    from builders.text_encoders import open_text_encoder

    return open_text_encoder(recipe.text_encoder, entry.text)


@dataclasses.dataclass
class _Training:
    """A run: what it is made of, and its loop."""

    recipe: Recipe
    entry: EntryGraph
    dataset: Any
    encoder: Encoder | None
    folder: RunFolder
    observer: Observer
    processes: Processes
    stop: Callable[[], bool]

    def run(self, state: State | None) -> None:
        """Every phase from where the state stands."""
        names = list(self.recipe.phases)
        standing = state.standing if state else Standing(names[0])
        if self.processes.main and state is None:
            self.folder.write_recipe()
        self._tell_start(standing)
        before: Phase | None = None
        for name in names[names.index(standing.phase) :]:
            if before is not None:
                standing = before.standing.next_phase(name, before.rows[-1])
            phase = Phase(self.recipe, self.entry, name, self.processes, standing)
            if state is not None and before is None:
                phase.restore(state)
            else:
                phase.initialise(self.recipe.source_of(name), before)
            self._run_phase(phase, state if before is None else None)
            before = phase

    def _tell_start(self, standing: Standing) -> None:
        licence = self.recipe.licence or getattr(self.dataset.card, "licence", "unknown")
        card = {"name": self.recipe.data_name, "licence": licence}
        total = sum(phase.steps or 0 for phase in self.recipe.phases.values())
        device, done = str(self.processes.device), standing.steps_done
        self.observer.on_start(RunFacts(self.recipe, self.entry, self.folder.folder, total, done, device, card))

    def _run_phase(self, phase: Phase, state: State | None) -> None:
        standing = phase.standing
        self.observer.on_phase(phase.name, phase.graph, phase.spec.steps, standing.step)
        if standing.finished:
            return
        resolution = phase.graph.resolution
        data = self.dataset.load(resolution, "train", seed=self.recipe.seed, crop=self.recipe.crop)
        self.data, self.held_out = data, self.dataset.load(resolution, "held_out")
        labels, recipe = phase.graph.labels, self.recipe
        self.monitor = Monitor(labels, phase.process.steps, self.processes.device)
        trained = tuple(label for label in labels if phase.loss.weight(label) and phase.by_level[label])
        self.alarm = CollapseAlarm(labels, trained)
        if state is not None:
            if self.processes.main:  # it counts for all of them
                self.monitor.restore(state.part("monitor"))
            self.alarm.restore(state.facts["alarm"])
        start = time.monotonic() - standing.seconds
        batches = read_batches(phase.plan, data, standing.step, phase.spec.steps, recipe.workers)
        with closing(batches):
            for step in _count(standing.step):
                began = time.perf_counter()
                batch = next(batches)
                waited = time.perf_counter() - began
                asked = self.stop()
                result = phase.step(step, batch, time.monotonic() - start, asked, self.encoder)
                last = self._advance(phase, step, result)
                self._report(phase, result, time.perf_counter() - began, waited)
                self._measure(phase, result, last)
                if result.stop and not (last and phase.name == list(recipe.phases)[-1]):
                    raise Interrupted
                if last:
                    return

    def _advance(self, phase: Phase, step: int, result: StepResult) -> bool:
        """Move the run's standing past a step; whether it was the phase's last one."""
        spec = phase.spec
        last = step + 1 == spec.steps if spec.hours is None else result.seconds >= 3600 * spec.hours
        bad = 0 if result.updated else phase.standing.bad_steps + 1
        # The clock enters the state only where the phase goes by it: runs that take the same steps are the same.
        seconds = result.seconds if spec.hours is not None else 0.0
        phase.standing = dataclasses.replace(
            phase.standing, step=step + 1, seconds=seconds, finished=last, bad_steps=bad
        )
        return last

    def _report(self, phase: Phase, result: StepResult, seconds: float, waited: float) -> None:
        """Tell the observer of a step; end training if too many in a row were not finite."""
        standing, recipe = phase.standing, self.recipe
        count = standing.steps_done
        self.observer.on_step(
            StepReport(
                count, phase.name, standing.step, result.losses, result.learning_rate, result.gradient_norm, seconds,
                skipped=not result.updated, waited=waited,
            )
        )  # fmt: skip
        if not result.updated:
            if standing.bad_steps >= recipe.max_bad_steps:
                self._give_up(phase)
            return
        batch, losses, norms = phase.last
        self.monitor.add({label: each.detach() for label, each in losses.items()}, batch.t, norms)
        if recipe.every.monitor and count % recipe.every.monitor == 0:
            values = self.monitor.read(self.processes.sum)
            self.observer.on_monitor(count, values)
            for message in self.alarm.watch(values):
                self.observer.on_alarm(count, message)

    def _give_up(self, phase: Phase) -> None:
        standing, folder = phase.standing, self.folder
        what = phase.what_was_bad()
        shown = "; ".join(what[:4] or ["the gradient"]) + (f"; and {len(what) - 4} more" if len(what) > 4 else "")
        message = (
            f"phase {phase.name}, step {standing.step}: {standing.bad_steps} steps in a row were not finite and made "
            f"no update. In the last of them, not finite: {shown}."
        )
        if self.processes.main:
            whole = dataclasses.replace(phase.plan, part=(0, 1)).draw(standing.step - 1, self.data)
            facts = {"phase": phase.name, "step": str(standing.step), "problem": message}
            facts |= {"keys": "\n".join(whole.keys), "captions": "\n".join(whole.captions)}
            path = folder.write_bad_batch(whole.tensors(), facts)
            message += f" The batch is in {path}."
        last = "the last good checkpoint stands" if folder.state_path.is_file() else "no checkpoint was written yet"
        raise TrainingError(
            f"{message} In {folder.folder} {last}. Look at the images of that batch; a lower learning_rate, a longer "
            "warmup or another precision may help, in another --out"
        )

    def _measure(self, phase: Phase, result: StepResult, last: bool) -> None:
        """What is due after a step: held-out losses, samples, checkpoints."""
        standing, every = phase.standing, self.recipe.every
        count, main = standing.steps_done, self.processes.main

        def due(cadence: int) -> bool:
            return bool(cadence) and standing.step % cadence == 0

        if main and (last or due(every.evaluate)):
            losses = held_out_losses(phase.ema, phase.process, self.held_out, encoder=self.encoder)
            self.observer.on_evaluate(count, losses)
            # The outermost level is what the phase is for.
            outermost = losses[phase.graph.labels[0]]
            self.folder.keep_if_best(standing, phase.graph, phase.ema.state_dict(), outermost)
        if main and (last or due(every.samples)):
            grid = draw_grid(phase.ema, phase.process, self.data, encoder=self.encoder)
            path = self.folder.write_grid(grid, f"{phase.name}-{standing.step:06d}")
            self.observer.on_grid(count, phase.name, grid, path)
        kept = self.recipe.checkpoints.every
        if result.stop or last or due(every.checkpoint) or (kept and count % kept == 0):
            counted = self.monitor.state(self.processes.sum)
            if main:
                self._save(phase, counted)

    def _save(self, phase: Phase, counted: Mapping[str, Tensor]) -> None:
        tensors, facts = phase.tensors()
        tensors |= {f"monitor/{name}": value for name, value in counted.items()}
        facts["alarm"] = self.alarm.state()
        ema = phase.ema.state_dict()
        path = self.folder.write_state(phase.standing, phase.graph, ema, tensors, facts)
        self.observer.on_checkpoint(phase.standing.steps_done, path)


def _count(first: int) -> Iterator[int]:
    while True:
        yield first
        first += 1
