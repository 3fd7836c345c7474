"""The training loop: phase after phase, step after step, with checkpoints and measurements between them."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor

from builders.checkpoints.tensor_file import CheckpointError
from builders.data.errors import EmptySplitError
from builders.data.images import Images
from builders.text.encoder import TextEncoder
from builders.training.batches import read_batches
from builders.training.data_checks import check_conditions, check_states, data_changes, data_facts
from builders.training.distributed import Processes
from builders.training.errors import TrainingError
from builders.training.initialise import check_shared, weights_file
from builders.training.monitor import CollapseAlarm, Monitor
from builders.training.observers import Observer, RunFacts, StepReport
from builders.training.phase import Phase, StepResult
from builders.training.run_folder import RunFolder
from builders.training.state import RunProgress, TrainingState
from builders.training.validation import draw_grid, held_out_losses
from specs.graph import EntryGraph
from specs.recipe import Recipe


class NothingHeldOutWarning(UserWarning):
    """The data has no images that are not trained on."""


class OldStateWarning(UserWarning):
    """A run goes on that was begun by an earlier version."""


class Interrupted(Exception):
    """Training was asked to stop; its state is written."""


@dataclasses.dataclass
class _Training:
    """A run: what it is made of, and its loop."""

    recipe: Recipe
    entry: EntryGraph
    dataset: Any
    encoder: TextEncoder | None
    folder: RunFolder
    observer: Observer
    processes: Processes
    stop: Callable[[], bool]
    #: Side in pixels at which the data was read.
    read_at: int = 0
    #: Images that are not trained on; None where the data holds none out.
    held_out: Images | None = None

    def prepare(self, state: TrainingState | None) -> None:
        """Read the data, and look for what would stop training only once it is under way.

        Raises:
            TrainingError: the data lacks what the entry reads, or a later phase's weights are not there or do not fit.
            CheckpointError: the data or the text encoder changed since the state was written.
        """
        names = list(self.recipe.phases)
        left = names[names.index(state.standing.phase) + state.standing.finished :] if state else names
        if not left:
            return
        for name in left if state is None or state.standing.finished else left[1:]:
            source = self.recipe.source_of(name)
            if source not in ("before", "fresh"):
                check_shared(self.entry.inner(self.recipe.phases[name].train), weights_file(source))
        self._read_data(self.entry.inner(self.recipe.phases[left[0]].train).resolution)
        check_conditions(self.entry, self.data, self.recipe.data_name)
        check_states(self.encoder, [self.data, *([self.held_out] if self.held_out is not None else [])])
        if state is not None:
            if "data" not in state.facts and self.processes.main:
                text = "the state is of an earlier version; whether its data is what it was cannot be told"
                warnings.warn(f"{self.folder.folder}: {text}", OldStateWarning, stacklevel=2)
            before = json.loads(state.facts.get("data", "{}"))
            changes = data_changes(before, self.data_facts, samples=not state.standing.finished)
            if changes:
                raise CheckpointError(
                    f"{self.folder.folder}: the data of this run, {self.recipe.data_name}, changed since it was "
                    f"stopped: {'; '.join(changes)}. Give it as it was, or another --out to start anew"
                )

    def _read_data(self, resolution: int) -> None:
        """The images of both splits at a resolution, unless they are there already."""
        if self.read_at == resolution:
            return
        self.data = self.dataset.load(resolution, "train", seed=self.recipe.seed, crop=self.recipe.crop)
        try:
            self.held_out = self.dataset.load(resolution, "val")
        except EmptySplitError as error:
            if not self.read_at and self.processes.main:
                text = f"{error}: no held-out loss is measured, and no best weights are kept"
                warnings.warn(text, NothingHeldOutWarning, stacklevel=2)
        # Now, not when the state is written: what was read counts.
        self.read_at, self.data_facts = resolution, data_facts(self.data, self.encoder)

    def run(self, state: TrainingState | None) -> None:
        """Every phase from where the state stands."""
        names = list(self.recipe.phases)
        standing = state.standing if state else RunProgress(names[0])
        if self.processes.main:
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

    def _tell_start(self, standing: RunProgress) -> None:
        licence = self.recipe.licence or getattr(self.dataset.card, "licence", "unknown")
        card = {"name": self.recipe.data_name, "licence": licence}
        total = sum(phase.steps or 0 for phase in self.recipe.phases.values())
        device, done = str(self.processes.device), standing.steps_done
        folder = self.folder.folder
        self.observer.on_start(RunFacts(self.recipe, self.entry, folder, total, done, device, card, self.encoder))

    def _run_phase(self, phase: Phase, state: TrainingState | None) -> None:
        standing = phase.standing
        self.observer.on_phase(phase.name, phase.graph, phase.spec.steps, standing.step)
        if standing.finished:
            return
        self._read_data(phase.graph.resolution)
        labels, recipe = phase.graph.labels, self.recipe
        self.monitor = Monitor(labels, phase.process.steps, self.processes.device)
        trained = tuple(label for label in labels if phase.loss.weight(label) and phase.by_level[label])
        self.alarm = CollapseAlarm(labels, trained)
        if state is not None:
            if self.processes.main:  # it counts for all of them
                self.monitor.restore(state.part("monitor"))
            self.alarm.restore(state.facts["alarm"])
        start = time.monotonic() - standing.seconds
        batches = read_batches(phase.plan, self.data, standing.step, phase.spec.steps, recipe.workers)
        with contextlib.closing(batches):
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
        # A scale of float16 that was too large is no fault of the weights: it halves until it fits.
        bad = 0 if result.updated else phase.standing.bad_steps + (not result.rescaled)
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
            if standing.bad_steps >= recipe.max_bad_steps and not result.rescaled:
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
            try:
                message += f" The batch is in {folder.write_bad_batch(whole.tensors(), facts)}."
            except CheckpointError as error:  # what went wrong in training matters more
                message += f" The batch could not be saved: {error}."
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

        if main and self.held_out is not None and (last or due(every.evaluate)):
            losses = held_out_losses(phase.ema.model, phase.process, self.held_out, encoder=self.encoder)
            self.observer.on_evaluate(count, losses)
            # The outermost level is what the phase is for.
            outermost = losses[phase.graph.labels[0]]
            self.folder.keep_if_best(standing, phase.graph, phase.ema.model.state_dict(), outermost)
        if main and (last or due(every.samples)):
            grid = draw_grid(phase.ema.model, self.data, encoder=self.encoder)
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
        facts["data"] = json.dumps(self.data_facts)
        ema = phase.ema.model.state_dict()
        path = self.folder.write_state(phase.standing, phase.graph, ema, tensors, facts)
        self.observer.on_checkpoint(phase.standing.steps_done, path)


def _count(first: int) -> Iterator[int]:
    while True:
        yield first
        first += 1
