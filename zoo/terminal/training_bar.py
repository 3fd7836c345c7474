"""The progress bar of training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builders.training.observers import Observer, RunInfo, StepReport

if TYPE_CHECKING:
    from specs.graph import EntryGraph

__all__ = ["ProgressBar"]


class ProgressBar(Observer):
    """A bar on stderr with step, throughput, time left and losses by level; without a terminal, a line per phase."""

    def __init__(self) -> None:
        from rich.console import Console

        self.console = Console(stderr=True, highlight=False)
        self.progress: Any = None
        self.losses: dict[str, float] = {}

    def on_start(self, run: RunInfo) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        if not self.console.is_terminal:
            self.console.print(f"training {run.graph.name}: {run.total_steps} steps, from step {run.first_step}")
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[losses]}"),
        )
        self.progress = Progress(*columns, console=self.console, transient=False)
        self.progress.start()
        self.task: Any = None

    def on_phase(self, name: str, graph: EntryGraph, steps: int | None, done: int) -> None:
        self.losses = {}
        if self.progress is not None:
            label = f"{name} ({graph.labels[0]})"
            self.task = self.progress.add_task(label, total=steps, completed=done, rate="", losses="")
        else:
            length = "limited by time" if steps is None else f"{steps - done} steps"
            self.console.print(f"phase {name}: level {graph.labels[0]}, {length}")

    def on_step(self, report: StepReport) -> None:
        if report.skipped:
            self.console.print(f"step {report.step}: not finite, no update", style="yellow")
        for label, loss in report.losses.items() if not report.skipped else ():
            # Averaged over about 20 steps: single losses vary a lot.
            self.losses[label] = loss if label not in self.losses else 0.95 * self.losses[label] + 0.05 * loss
        if self.progress is not None:
            shown = " ".join(f"{label} {loss:.3f}" for label, loss in self.losses.items())
            rate = f"{1 / max(report.seconds, 1e-9):.1f}/s"
            self.progress.update(self.task, completed=report.phase_step, rate=rate, losses=shown)

    def on_alarm(self, step: int, message: str) -> None:
        self.console.print(f"step {step}: {message}", style="bold red")

    def on_evaluate(self, step: int, losses: Mapping[str, float]) -> None:
        shown = ", ".join(f"{label} {loss:.4f}" for label, loss in losses.items())
        self.console.print(f"step {step}: validation v loss {shown}")

    def on_grid(self, step: int, phase: str, grid: Any, path: Path) -> None:
        self.console.print(f"step {step}: samples in {path}")

    def on_end(self, status: str) -> None:
        if self.progress is not None:
            self.progress.stop()
