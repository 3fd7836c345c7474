"""Overhead of tracking per training step: medians without it, with it, and with an unreachable store.

Each round trains the 16-pixel level of mdm-nano for some steps in a fresh folder. Cases alternate, so that load on the
machine affects all of them equally.

    python benchmarks/tracking_overhead.py
    python benchmarks/tracking_overhead.py --rounds 5 --steps 60
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from pathlib import Path

from builders.training.observers import Observer, Observers, StepReport
from builders.training.start import train
from registry.tracking.observer import MLflowObserver
from registry.tracking.store import sqlite_uri
from specs.recipe import load_recipe

WAYS = ("off", "on", "away")
#: A port that no server listens on.
NOWHERE = "http://127.0.0.1:9"


class Clock(Observer):
    """Records the seconds of every step after the first five."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_step(self, report: StepReport) -> None:
        if report.step > 5:
            self.seconds.append(report.seconds)


def measure(way: str, folder: Path, steps: int) -> list[float]:
    """Train once; return the seconds of the steps."""
    os.environ["MLFLOW_TRACKING_URI"] = NOWHERE if way == "away" else sqlite_uri(folder.parent / "mlflow.db")
    phases = f"phases={{p16: {{train: r16, steps: {steps}, batch: 16}}, p32: null, p64: null}}"
    recipe = load_recipe("nano-progressive", [phases, "every={checkpoint: 0, evaluate: 0, monitor: 20}"])
    clock = Clock()
    tracking = [] if way == "off" else [MLflowObserver(warn=lambda text: None, patience=20)]
    train(recipe, folder, observer=Observers([clock, *tracking]))
    return clock.seconds


def main() -> None:
    """Print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=4, help="Repetitions of every case.")
    parser.add_argument("--steps", type=int, default=60, help="Training steps per round.")
    options = parser.parse_args()
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        measure("on", Path(folder) / "warm", 6)  # imports, and creation of the store's tables
        for number in range(options.rounds):
            for way in WAYS[number % 3 :] + WAYS[: number % 3]:
                seconds[way] += measure(way, Path(folder) / f"{way}{number}", options.steps)
    base = statistics.median(seconds["off"])
    print(f"{options.rounds} rounds of {options.steps} steps; median milliseconds per step, ratio to tracking off")
    for way in WAYS:
        median = statistics.median(seconds[way])
        print(f"{way:5} {1000 * median:8.2f}  {median / base:.3f}")


if __name__ == "__main__":
    main()
