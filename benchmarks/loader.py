"""Data loading: throughput in samples/s with 0, 1 and 2 workers, and the time that training steps wait for batches.

Cases alternate, so that load on the machine affects all of them equally. Images of 64 pixels are the packaged emoji;
those of 256 pixels are noise with the spectrum of photographs (amplitudes proportional to 1/f), packed into a temporary
folder. Files are in the page cache: disk throughput is not measured.

    python benchmarks/loader.py
    python benchmarks/loader.py --rounds 5 --batches 40 --steps 60
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from builders.data.open import open_dataset
from builders.data.packing.pack import PackSettings, pack
from builders.data.packing.sources import find_sources
from builders.training.batches import BatchPlan, read_batches
from builders.training.observers import Observer, StepReport
from builders.training.start import train
from specs.load import load_entry
from specs.recipe import load_recipe
from specs.schemas.recipe import DropSpec

ROWS = 16
WORKERS = (0, 1, 2)
#: Steps and batches of warm-up, not counted: workers start and files enter the cache.
WARM = 4


def noise(folder: Path, count: int, side: int) -> Path:
    """Write images with amplitudes proportional to 1/f, as in photographs; return their folder."""
    folder.mkdir()
    random = np.random.default_rng(0)
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
    frequency[0, 0] = 1
    for index in range(count):
        spectrum = np.fft.rfft2(random.standard_normal((3, side, side))) / frequency
        spectrum[:, 0, 0] = 0
        image = np.fft.irfft2(spectrum)
        levels = (128 + 50 * image / image.std()).clip(0, 255).astype(np.uint8)
        Image.fromarray(levels.transpose(1, 2, 0)).save(folder / f"{index:05}.png", compress_level=1)
    return folder


def rate(entry: str, data: Any, workers: int, batches: int) -> float:
    """Return the throughput of reading batches without training, in samples/s."""
    graph = load_entry(entry).graph
    rows = (ROWS,) * len(graph.levels)
    plan = BatchPlan(graph, "reading", 0, rows, 1000, 0, DropSpec())
    with closing(read_batches(plan, data, 0, WARM + batches, workers)) as stream:
        for _ in range(WARM):
            next(stream)
        start = time.perf_counter()
        count = sum(1 for _ in stream)
        return count * ROWS / (time.perf_counter() - start)


class Enough(Exception):
    """All steps are recorded; the end of training is not measured."""


class Waits(Observer):
    """Records the seconds spent waiting for the batch, and all seconds, of ``count`` steps after the warm-up."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.steps: list[tuple[float, float]] = []

    def on_step(self, report: StepReport) -> None:
        if report.step > WARM:
            self.steps.append((report.waited, report.seconds))
        if len(self.steps) == self.count:
            raise Enough


def waits(level: str, crop: str, workers: int, steps: int, folder: Path) -> list[tuple[float, float]]:
    """Train mdm-nano or its inner level alone; return seconds waited and total seconds of each step."""
    phases = f"phases={{p16: {{train: {level}, steps: {WARM + steps + 1}, batch: {ROWS}}}, p32: null, p64: null}}"
    every = "every={checkpoint: 0, evaluate: 0, monitor: 0}"
    recipe = load_recipe("nano-progressive", [phases, every, f"crop={crop}", f"workers={workers}"])
    watch = Waits(steps)
    with suppress(Enough):
        train(recipe, folder, observer=watch)
    return watch.steps


def measure_rates(rounds: int, batches: int, folder: Path) -> None:
    """Print the throughput of reading batches."""
    pack(find_sources(noise(folder / "images", 256, 256)), folder / "set", "noise", PackSettings(256, val=False))
    emoji, large = open_dataset("noto-emoji-64"), open_dataset(folder / "set")
    ways = {
        "64 px, in memory": ("mdm-nano", emoji.load(64, memory=True)),
        "64 px, decoded lazily": ("mdm-nano", emoji.load(64, memory=False)),
        "256 px, decoded lazily": ("mdm-s256", large.load(256, memory=False)),
    }
    found: dict[tuple[str, int], list[float]] = {(way, workers): [] for way in ways for workers in WORKERS}
    for _ in range(rounds):
        for way, workers in found:
            found[way, workers].append(rate(*ways[way], workers, batches))
    print(f"\nsamples/s, median of {rounds} rounds of {batches} batches of {ROWS}")
    print(f"{'':24}" + "".join(f"{f'{workers} workers':>12}" for workers in WORKERS))
    for way in ways:
        print(f"{way:24}" + "".join(f"{statistics.median(found[way, workers]):12,.0f}" for workers in WORKERS))


def measure_waits(rounds: int, steps: int, folder: Path) -> None:
    """Print the time of training steps and the share spent waiting."""
    ways = [(level, crop, workers) for level in ("r16", "r64") for crop in ("center", "random") for workers in (0, 2)]
    found: dict[tuple[str, str, int], list[tuple[float, float]]] = {way: [] for way in ways}
    for number in range(rounds):
        for level, crop, workers in ways:
            run = folder / f"{level}-{crop}-{workers}-{number}"
            found[level, crop, workers] += waits(level, crop, workers, steps, run)
    print(
        f"\ntraining steps of mdm-nano, batch size {ROWS}, {rounds} rounds of {steps} steps: median time per step, and"
    )
    print("share of the time spent waiting for the batch")
    print(f"{'level':8}{'images':12}{'workers':>8}{'ms/step':>12}{'waiting':>10}")
    for (level, crop, workers), steps_taken in found.items():
        median = statistics.median(seconds for _, seconds in steps_taken)
        share = sum(waited for waited, _ in steps_taken) / sum(seconds for _, seconds in steps_taken)
        images = "in memory" if crop == "center" else "lazy"
        print(f"{level:8}{images:12}{workers:8}{1000 * median:12.1f}{share:10.1%}")


def main() -> None:
    """Measure and print both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="Repetitions of every case.")
    parser.add_argument("--batches", type=int, default=30, help="Batches per round without training.")
    parser.add_argument("--steps", type=int, default=40, help="Training steps per round.")
    options = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    with tempfile.TemporaryDirectory() as folder:
        measure_rates(options.rounds, options.batches, Path(folder))
        measure_waits(options.rounds, options.steps, Path(folder))


if __name__ == "__main__":
    main()
