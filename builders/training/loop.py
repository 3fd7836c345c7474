"""The training loop: phases, steps, checkpoints and validation."""

from __future__ import annotations

import contextlib
import itertools
import json
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from builders.checkpoints.tensor_file import CheckpointError
from builders.data.errors import EmptySplitError
from builders.data.images import Images
from builders.text.encoder import TextEncoder
from builders.training.batches import Batch, read_batches
from builders.training.checks import check_conditions, check_same_data, check_sources, check_states, stream_facts
from builders.training.distributed import Processes
from builders.training.engine.results import StartedStep, StepResult
from builders.training.errors import Interrupted, NoValidationDataWarning, ProcessLost, TrainingError, warn
from builders.training.monitor import CollapseAlarm, Monitor, non_finite
from builders.training.observers import Observer, RunInfo, StepReport, describe
from builders.training.phase import Phase
from builders.training.reading.checks import check_labels
from builders.training.reading.sources import Needs, Sources, Streams
from builders.training.run_folder import RunFolder
from builders.training.settings import PhaseSettings
from builders.training.state import RunProgress, TrainingState
from builders.training.validation import draw_samples, log_snr_errors, validation_losses
from specs.graph import EntryGraph
from specs.printable import printable
from specs.schemas.recipe import Recipe

__all__ = ["Interrupted", "TrainingLoop"]


class _Pending(NamedTuple):
    """A step whose numbers are still to be read: its number from 0, when it began, and how long it waited for data."""

    step: int
    started: StartedStep
    began: float
    waited: float


@dataclass
class TrainingLoop:
    """A training run.

    Attributes:
        recipe: Recipe of the run.
        entry: Graph of the whole entry.
        phases: Settings of all phases, in order.
        sources: Data to train on.
        encoder: Text encoder, if the entry reads text.
        folder: Folder of the run.
        observer: Observer of the run.
        processes: Processes that train together.
        stop: Function that is called before every step; True saves the state and ends the run.
        data: Training images and clips.
        val: Validation images or clips, or None if the data has none.
        needs: Data that was read.
    """

    recipe: Recipe
    entry: EntryGraph
    phases: Sequence[PhaseSettings]
    sources: Sources
    encoder: TextEncoder | None
    folder: RunFolder
    observer: Observer
    processes: Processes
    stop: Callable[[], bool]
    data: Streams = field(init=False)
    val: Images | None = field(init=False, default=None)
    needs: Needs | None = field(init=False, default=None)

    def prepare(self, state: TrainingState | None) -> None:
        """Read the data, and check everything that could fail later.

        Args:
            state: State to resume from, if there is one.

        Raises:
            TrainingError: The data lacks what the entry or a phase reads, or initial weights are missing or do not fit.
            CheckpointError: The data or the text encoder changed since the state was written.
        """
        remaining = self._remaining_phases(state)
        if not remaining:
            return
        resumed = state is not None and not state.progress.finished
        names = self.sources.data.classes if self.entry.classes is not None else ()
        check_sources(remaining[1:] if resumed else remaining, names)  # a resumed phase has its weights
        check_labels(self.entry, self.sources, self.recipe.data_name, self.recipe.images_name)
        self._read_data(remaining[0])
        for key, images in self.data.by_key(remaining[0].needs).items():
            name = self.recipe.data_name if key == "data" else self.recipe.images_name
            check_conditions(self.entry, images, name, classes=key == "data")  # images need no classes
        check_states(
            self.encoder, [split for split in (self.data.first, self.data.rest, self.val) if split is not None]
        )
        if state is not None:
            name, main = self.recipe.data_name, self.processes.main
            check_same_data(state, self.data_facts, self.folder.folder, name, warn=main)

    def _remaining_phases(self, state: TrainingState | None) -> Sequence[PhaseSettings]:
        """Return the phases that have steps left."""
        if state is None:
            return self.phases
        current = self._index(state.progress.phase)
        return self.phases[current + 1 :] if state.progress.finished else self.phases[current:]

    def _index(self, phase: str) -> int:
        return [settings.name for settings in self.phases].index(phase)

    def _read_data(self, phase: PhaseSettings) -> None:
        """Read the training and validation data of a phase, unless this very data was read."""
        needs = phase.needs
        if self.needs == needs:
            return
        self.data = self.sources.train(needs)
        try:
            self.val = self.sources.val(needs)
        except EmptySplitError as error:
            new, self.val = self.needs is None or self.val is not None, None
            if new and self.processes.main:
                text = f"{error}: no validation loss is measured, and no best weights are saved"
                warnings.warn(text, NoValidationDataWarning, stacklevel=2)
        self.needs = needs
        # Taken now and not when a state is saved: they must describe the data that was read.
        self.data_facts = stream_facts(self.data, needs, self.encoder)

    def run(self, state: TrainingState | None) -> None:
        """Train all phases, from a state if there is one.

        Raises:
            Interrupted: ``stop`` returned True. The state has been saved.
            TrainingError: Too many steps in a row were not finite.
            CheckpointError: A file cannot be written.
        """
        progress = state.progress if state else RunProgress.first(self.phases[0].name, paired=self.recipe.paired)
        if self.processes.main:
            self.folder.write_recipe()
        self._report_start(progress)
        if self._is_complete(progress):
            return
        before: Phase | None = None
        for settings in self.phases[self._index(progress.phase) :]:
            if before is not None:
                progress = before.progress.next_phase(settings.name, *before.settings.samples_per_step)
            phase = Phase(settings, self.processes, progress)
            if state is None:
                phase.initialize(before)
            else:
                phase.restore(state)
            self._run_phase(phase, state)
            before, state = phase, None

    def _is_complete(self, progress: RunProgress) -> bool:
        """Return whether the last phase is finished, and the main process sees its weights and samples."""
        if not progress.finished or progress.phase != self.phases[-1].name:
            return False
        there = self.folder.weights.is_file() and self.folder.grid_path(progress).is_file()
        return self.processes.gather(there)[0]

    def _report_start(self, progress: RunProgress) -> None:
        data = self.sources.facts(self.recipe)
        total, device = sum(phase.steps or 0 for phase in self.phases), str(self.processes.device)
        folder, done = self.folder.folder, progress.steps_done
        finished = progress.finished and progress.phase == self.phases[-1].name
        precision = self.processes.precision
        info = RunInfo(self.recipe, self.entry, folder, total, done, device, data, self.encoder, finished, precision)
        self.observer.on_start(info)

    def _run_phase(self, phase: Phase, state: TrainingState | None) -> None:
        settings, progress = phase.settings, phase.progress
        self.observer.on_phase(settings.name, settings.graph, settings.steps, progress.step)
        if state is not None:
            self._write_missing(phase)
        if progress.finished:
            return
        self._read_data(settings)
        labels = settings.graph.labels
        self.monitor = Monitor(labels, phase.process.steps, self.processes.device)
        self.alarm = CollapseAlarm(labels, tuple(label for label in settings.labels_with_loss if phase.by_level[label]))
        if state is not None:
            if self.processes.main:  # the saved sums are those of all processes
                self.monitor.restore(state.part("monitor"))
            self.alarm.restore(state.facts["alarm"])
        workers, device = self.recipe.workers, self.processes.device
        batches = read_batches(phase.plan, self.data, progress.step, settings.steps, workers, device)
        with contextlib.closing(batches):
            self._take_steps(phase, batches)

    def _take_steps(self, phase: Phase, batches: Iterator[Batch]) -> None:
        """Take the steps of a phase. On a GPU the numbers of a step are read when the next one has started."""
        start, stopped = time.monotonic() - phase.progress.seconds, False
        pending: deque[_Pending] = deque()
        for step in itertools.count(phase.progress.step):
            began = time.perf_counter()
            batch = next(batches)
            waited = time.perf_counter() - began
            stop = self.stop()
            started = phase.start(step, batch, time.monotonic() - start, stop, self.encoder)
            pending.append(_Pending(step, started, began, waited))
            # The weights must not change before what is due has been measured or saved.
            last, drain = False, self._is_due(phase, step + 1) or (stop and self.processes.count == 1)
            while pending and (drain or len(pending) > phase.lag):
                each = pending.popleft()
                result = each.started.result()
                last = phase.settings.is_last(each.step, result.numbers.seconds)
                stopped = stopped or result.numbers.stop
                drain = drain or last or stopped
                self._advance(phase, each.step, result, finished=last and not pending)
                ended = pending[0].began if pending else time.perf_counter()
                self._report_step(phase, result, ended - each.began, each.waited)
                if not pending:
                    self._measure_and_save(phase, stopped, last)
            if stopped and not (last and phase.settings is self.phases[-1]):
                raise Interrupted
            if last:
                return

    def _is_due(self, phase: Phase, step: int) -> bool:
        """Return whether anything is measured, drawn or saved after a step of the phase, from 1."""
        every, permanent = self.recipe.every, self.recipe.checkpoints.every
        cadences = (every.evaluate, every.checkpoint, every.samples, self._averages)
        due = any(cadence and step % cadence == 0 for cadence in cadences)
        count = phase.progress.steps_before + step
        return due or step == phase.settings.steps or bool(permanent and count % permanent == 0)

    @property
    def _averages(self) -> int:
        """Interval in steps at which averages are saved; 0 for none."""
        return self.recipe.averages.every if self.recipe.averages else 0

    def _advance(self, phase: Phase, step: int, result: StepResult, *, finished: bool) -> None:
        """Update the progress after a step."""
        # A float16 scale that was too large is not a bad step: the scaler halves it until it fits.
        bad = 0 if result.updated else phase.progress.bad_steps + (0 if result.rescaled else 1)
        # The clock is saved only if the phase is limited by hours, so that states of equal runs are equal.
        seconds = result.numbers.seconds if phase.settings.hours is not None else 0.0
        phase.progress = replace(phase.progress, step=step + 1, seconds=seconds, finished=finished, bad_steps=bad)

    def _report_step(self, phase: Phase, result: StepResult, seconds: float, waited: float) -> None:
        """Report a step to the observer; end training if too many steps in a row were not finite."""
        progress, numbers = phase.progress, result.numbers
        count = progress.steps_done
        self.observer.on_step(
            StepReport(
                count, progress.phase, progress.step, numbers.losses, result.learning_rate, numbers.gradient_norm,
                seconds, skipped=not result.updated, waited=waited,
            )
        )  # fmt: skip
        if not result.updated:
            if progress.bad_steps >= self.recipe.max_bad_steps and not result.rescaled:
                self._give_up(phase, result)
            return
        self.monitor.add(result.row_losses, result.t, result.level_norms)
        if self.recipe.every.monitor and count % self.recipe.every.monitor == 0:
            values = self.monitor.read(self.processes.sum)
            self.observer.on_monitor(count, values)
            for message in self.alarm.watch(values):
                self.observer.on_alarm(count, message)

    def _give_up(self, phase: Phase, result: StepResult) -> None:
        """Save the batch of the last step, and raise an error that says which values were not finite."""
        progress, folder = phase.progress, self.folder
        found = non_finite(result.row_losses, result.t, result.level_norms, phase.process.steps)
        what = list(dict.fromkeys(text for part in self.processes.gather(found) for text in part))
        shown = "; ".join(what[:4] or ["the gradient"]) + (f"; and {len(what) - 4} more" if len(what) > 4 else "")
        message = (
            f"phase {printable(progress.phase)}, step {progress.step}: {progress.bad_steps} steps in a row were "
            f"not finite and updated nothing. In the last of them, not finite: {shown}."
        )
        if self.processes.main:
            whole = replace(phase.plan, part=(0, 1)).draw(progress.step - 1, self.data)
            facts = {"phase": progress.phase, "step": str(progress.step), "problem": message}
            facts |= {"keys": "\n".join(whole.keys), "captions": "\n".join(whole.captions)}
            try:
                message += f" The batch is in {folder.write_bad_batch(whole.tensors(), facts)}."
            except CheckpointError as error:  # the first error matters more
                message += f" The batch could not be saved: {error}."
        saved = "the last good checkpoint is intact" if folder.state_path.is_file() else "there is no checkpoint yet"
        raise TrainingError(
            f"{message} In {folder.folder} {saved}. Look at the images of that batch; a lower learning_rate, a longer "
            "warmup or another precision may help, in another --output"
        )

    def _measure_and_save(self, phase: Phase, stopped: bool, last: bool) -> None:
        """Do what is due after a step: validation, samples, a checkpoint."""
        progress, every = phase.progress, self.recipe.every
        count = progress.steps_done

        def due(cadence: int) -> bool:
            return bool(cadence) and progress.step % cadence == 0

        if self.val is not None and (last or due(every.evaluate)):
            self._validate(phase, self.val, last)
        if self._averages and (last or due(self._averages)):
            self.folder.write_averages(phase)
        permanent = self.recipe.checkpoints.every
        if stopped or last or due(every.checkpoint) or (permanent and count % permanent == 0):
            self._save(phase)
        if last or due(every.samples):  # after the state, which no picture may cost
            self._draw(phase)

    def _validate(self, phase: Phase, val: Images, last: bool) -> None:
        """Measure the validation losses, and retain the weights if they are among the best; a failure is a warning.

        At the end of a phase, the errors at fixed log-SNRs are measured too. Each process measures a share of the
        samples.
        """
        count, processes = phase.progress.steps_done, self.processes
        what = phase.ema.model, phase.process, val
        how: dict[str, Any] = {"encoder": self.encoder, "spec": self.recipe.validation}
        how |= {"part": (processes.index, processes.count), "precision": processes.precision}
        try:
            losses = processes.measure(lambda total: validation_losses(*what, **how, total=total))
            errors = processes.measure(lambda total: log_snr_errors(*what, **how, total=total)) if last else {}
        except ProcessLost:
            raise
        except Exception as error:  # of the images, the text encoder or the memory
            self._warn(f"step {count}: no validation loss was measured ({describe(error)})")
            return
        averages = phase.averages() if processes.main or processes.sharded else {}
        if not processes.main:
            return
        self.observer.on_evaluate(count, losses)
        if errors:
            self.observer.on_errors(count, errors)
        # The best weights are those with the lowest loss of the outermost level, which the phase adds.
        self.folder.keep_if_best(phase, losses[phase.settings.graph.labels[0]], averages)

    def _warn(self, text: str) -> None:
        """Warn once for all processes."""
        if self.processes.main:
            warn(text)

    def _draw(self, phase: Phase) -> None:
        """Draw and write samples; a failure is a warning."""
        progress = phase.progress
        options: dict[str, Any] = {"encoder": self.encoder, "drop": self.recipe.drop}
        options["precision"] = self.processes.precision
        try:
            self._read_data(phase.settings)
            grid = draw_samples(phase.ema.model, self.data.first, processes=self.processes, **options)
            if grid is None:  # the main process has it
                return
            paths = self.folder.write_grid(grid, progress)
        except ProcessLost:
            raise
        except Exception as error:  # of a caption, a font, the sampler, the memory or the disk
            self._warn(f"step {progress.steps_done}: no samples were drawn ({describe(error)})")
            return
        for path in paths:
            self.observer.on_grid(progress.steps_done, progress.phase, grid.sheet, path)

    def _write_missing(self, phase: Phase) -> None:
        """Write the weights and samples of a restored state if they are missing.

        A run may be killed after its state is saved and before its samples are drawn.
        """
        progress, cadence, folder = phase.progress, self.recipe.every.samples, self.folder
        weights, grid = self.processes.on_main(lambda: (folder.weights.is_file(), folder.grid_path(progress).is_file()))
        if not weights:
            averages = phase.averages()
            self.processes.on_main(lambda: folder.write_weights(folder.weights, phase, averages))
        due = progress.finished or (cadence and progress.step % cadence == 0)
        if due and progress.step and not grid:
            self._draw(phase)

    def _save(self, phase: Phase) -> None:
        counted = self.monitor.state(self.processes.sum)  # by all processes together
        if self.processes.main or self.processes.sharded:
            tensors, facts = phase.tensors()
            tensors |= {f"monitor/{name}": value for name, value in counted.items()}
            facts |= {"alarm": self.alarm.state(), "data": json.dumps(self.data_facts)}
            self.folder.write_state(phase, tensors, facts)
        self.observer.on_checkpoint(phase.progress.steps_done, self.folder.state_path)
