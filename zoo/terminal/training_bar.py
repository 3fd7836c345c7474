"""The progress bar of training."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builders.training.observers import Observer, RunInfo, StepReport
from specs.addresses import without_secrets
from specs.printable import printable
from specs.syntax.overrides import set_option
from zoo.terminal.console import error_console

if TYPE_CHECKING:
    from specs.graph import EntryGraph

__all__ = ["ProgressBar"]


class ProgressBar(Observer):
    """A bar on stderr with step, throughput, time left and losses by level; without a terminal, a line per phase.

    Args:
        advise: Whether to say how a finished run is trained longer.
    """

    def __init__(self, *, advise: bool = True) -> None:
        self.advise = advise
        self.console = error_console()
        self.progress: Any = None
        self.losses: dict[str, float] = {}
        #: Part of a measurement that is shown: its name, its task and its start.
        self._measured: tuple[str, Any, float] | None = None

    def on_start(self, run: RunInfo) -> None:
        for line in _description(run, self.advise):
            self._say(line)
        if not self.console.is_terminal or run.finished:
            return
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[losses]}"),
        )
        self.progress = Progress(*columns, console=self.console, transient=False)
        self.progress.start()
        self.task: Any = None

    def _say(self, line: str, style: str | None = None) -> None:
        """Print a line as it is: brackets in a name are no markup."""
        self.console.print(line, style=style, markup=False, soft_wrap=True)

    def on_phase(self, name: str, graph: EntryGraph, steps: int | None, done: int) -> None:
        self.losses = {}
        if self.progress is not None:
            label = f"{printable(name)} ({graph.labels[0]})"
            self.task = self.progress.add_task(label, total=steps, completed=done, rate="", losses="")
        else:
            self._say(f"phase {printable(name)}: level {graph.labels[0]}, {_phase_length(steps, done)}")

    def on_step(self, report: StepReport) -> None:
        if report.skipped:
            self._say(f"step {report.step}: not finite, no update", "yellow")
        for label, loss in report.losses.items() if not report.skipped else ():
            # Averaged over about 20 steps: single losses vary a lot.
            self.losses[label] = loss if label not in self.losses else 0.95 * self.losses[label] + 0.05 * loss
        if self.progress is not None:
            shown = " ".join(f"{label} {loss:.3f}" for label, loss in self.losses.items())
            rate = f"{1 / max(report.seconds, 1e-9):.1f}/s"
            self.progress.update(self.task, completed=report.phase_step, rate=rate, losses=shown)

    def on_alarm(self, step: int, message: str) -> None:
        self._say(f"step {step}: {message}", "bold red")

    def on_evaluate(self, step: int, losses: Mapping[str, float]) -> None:
        shown = ", ".join(f"{label} {loss:.4f}" for label, loss in losses.items())
        self._say(f"step {step}: validation v loss {shown}")

    def on_distance(self, step: int, distances: Mapping[str, float]) -> None:
        shown = ", ".join(f"{name} {value:.4g}" for name, value in distances.items())
        self._say(f"step {step}: distance {shown}")

    def on_progress(self, what: str, done: int, total: int) -> None:
        """Show a part of a measurement, such as the features of a reference, while it is done."""
        if self.progress is None:
            return
        now = time.monotonic()
        if self._measured is None or self._measured[0] != what:
            self._end_measured()
            self._measured = what, self.progress.add_task(what, total=total, rate="", losses=""), now
        _, task, began = self._measured
        self.progress.update(task, completed=done, total=total, rate=f"{done / max(now - began, 1e-9):,.0f}/s")
        if done >= total:
            self._end_measured()

    def _end_measured(self) -> None:
        if self._measured is not None:
            self.progress.remove_task(self._measured[1])
            self._measured = None

    def on_grid(self, step: int, phase: str, grid: Any, path: Path) -> None:
        self._say(f"step {step}: samples in {printable(str(path))}")

    def on_end(self, status: str) -> None:
        if self.progress is not None:
            self.progress.stop()


def _phase_length(steps: int | None, done: int) -> str:
    if steps is None:
        return "limited by time"
    if done and done < steps:
        return f"{steps - done:,} of {steps:,} steps left"
    return f"all {steps:,} steps done" if done else f"{steps:,} step{'s' * (steps != 1)}"


def _description(run: RunInfo, advise: bool) -> list[str]:
    """Return lines about a run at its start: entry, data, device, folder, where it resumes."""
    from registry.costs.totals import count
    from registry.costs.units import short

    parameters = short(count(run.graph).total.parameters)
    data, images = (printable(without_secrets(str(run.data.get(key, "")))) for key in ("name", "images"))
    total, images = run.total_steps, f" and images of {images}" if images else ""
    place = run.device if run.precision == "float32" else f"{run.device} in {run.precision}"
    lines = [f"{run.graph.name} ({parameters} parameters) on {data}{images}, {place}"]
    hours = any(phase.hours is not None for phase in run.recipe.phases.values())
    length = f"{total:,} step{'s' * (total != 1)}" + (" and more by hours" if hours and total else "")
    if hours and not total:
        length = "limited by hours"
    folder = printable(str(run.folder))
    if run.finished:
        phase = next(reversed(run.recipe.phases))
        longer = f"; to train longer: {set_option('phases', phase, 'steps')}, or another --output" if advise else ""
        return [*lines, f"folder {folder}: finished before at step {run.first_step:,}{longer}"]
    if run.first_step:
        join = "," if hours else " of"
        return [*lines, f"folder {folder}: resumed from step {run.first_step:,}{join} {length}"]
    if (run.folder / "ema.safetensors").is_file():
        return [*lines, f"folder {folder}: its state.safetensors is missing, so the run starts over, {length}"]
    return [*lines, f"folder {folder}: new run, {length}"]
