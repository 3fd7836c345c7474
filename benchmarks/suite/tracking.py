"""Tracking of a training: its cost per step, against none and against MLflow's own call in every step."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.suite.comparing import Comparison, Options, compared
from benchmarks.suite.measuring import Times
from builders.training.observers import Observer, Observers, StepReport
from builders.training.start import train
from registry.tracking.observer import MLflowObserver
from registry.tracking.store import sqlite_uri
from specs.recipe import load_recipe

__all__ = ["tracking"]

WARM = 5
CASES = {"off": "against no tracking", "plain": "against mlflow.log_metrics in every step"}


class Clock(Observer):
    """Records CPU time and time by the clock at the end of every step after the first ones."""

    def __init__(self) -> None:
        self.marks: list[tuple[float, float]] = []

    def on_step(self, report: StepReport) -> None:
        if report.step >= WARM:
            self.marks.append((time.process_time(), time.perf_counter()))

    def mean(self) -> tuple[float, float]:
        """Return the mean of both per step."""
        (cpu, wall), (last_cpu, last_wall) = self.marks[0], self.marks[-1]
        return (last_cpu - cpu) / (len(self.marks) - 1), (last_wall - wall) / (len(self.marks) - 1)


class PlainTracking(Observer):
    """MLflow's fluent interface, called in every step."""

    def on_step(self, report: StepReport) -> None:
        import mlflow

        if mlflow.active_run() is None:
            mlflow.start_run()
        values = {f"loss/{label}": loss for label, loss in report.losses.items()}
        values |= {"learning_rate": report.learning_rate, "gradient_norm": report.gradient_norm}
        mlflow.log_metrics(values, step=report.step)

    def on_end(self, status: str) -> None:
        import mlflow

        mlflow.end_run()


def run(way: str, folder: Path, steps: int) -> tuple[float, float]:
    """Train the 16-pixel level of mdm-nano; return CPU time and time by the clock per step.

    Args:
        way: "off", "plain" or "zoo".
        folder: Folder of the run.
        steps: Number of steps.
    """
    phases = f"phases={{p16: {{train: r16, steps: {steps}, batch: 16}}, p32: null, p64: null}}"
    recipe = load_recipe("nano-progressive", [phases, "every={checkpoint: 0, evaluate: 0, monitor: 20}"])
    clock = Clock()
    tracking = {"off": [], "plain": [PlainTracking()], "zoo": [MLflowObserver(warn=lambda text: None)]}[way]
    train(recipe, folder, observer=Observers([clock, *tracking]))
    return clock.mean()


def tracking(options: Options) -> Iterator[Comparison]:
    """Measure a training step with tracking to a SQLite store, CPU time of the thread that sends included."""
    steps, ways = (10 if options.quick else 30), ("off", "plain", "zoo")
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    before = os.environ.get("MLFLOW_TRACKING_URI")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["MLFLOW_TRACKING_URI"] = sqlite_uri(folder / "mlflow.db")
        try:
            run("zoo", folder / "warm", WARM + 2)  # imports, and creation of the store's tables
            for number in range(options.rounds):
                for way in ways[number % 3 :] + ways[: number % 3]:
                    found[way].append(run(way, folder / f"{way}{number}", steps))
        finally:
            os.environ.pop("MLFLOW_TRACKING_URI")
            os.environ |= {} if before is None else {"MLFLOW_TRACKING_URI": before}
    times = {way: Times(*zip(*values, strict=True)) for way, values in found.items()}
    for way, case in CASES.items():
        yield compared("tracking", case, {"plain": times[way], "zoo": times["zoo"]}, "cpu")
