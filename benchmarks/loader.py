"""Data loading. CPU seconds, so that other work on the machine matters little:

rows     rows per CPU second of each process at 1, 2, 4 and 8 processes, which share a batch of 64 rows: reading, noise
         and levels; beside it, a plain loop with Pillow that reads the same files, without noise and levels
reduced  decoding of JPEG images whole and at a reduced size, and by how much the levels differ
index    opening a set of many samples for the first time, and from the cache of indexes

By the clock, on an otherwise idle machine:

rates    throughput in samples/s with 0, 1 and 2 workers
waits    the time that training steps wait for batches

Cases alternate. Images of 64 pixels are the packaged emoji; others are noise with the spectrum of photographs
(amplitudes proportional to 1/f), packed into a temporary folder. Files are in the page cache: disk throughput is not
measured.

    python benchmarks/loader.py rows reduced index
    python benchmarks/loader.py rates waits --rounds 5 --batches 40 --steps 60
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import os
import statistics
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.baseline.loading import PlainImages
from benchmarks.suite.loading import photographs
from builders.data.dataset import Dataset, with_reduced
from builders.data.decoding import decode_image, decode_reduced, fit, fit_reduced
from builders.data.images import Images
from builders.data.open import open_dataset
from builders.data.packing.pack import PackSettings, pack
from builders.data.packing.sources import find_sources
from builders.training.batches import BatchPlan, read_batches
from builders.training.observers import Observer, StepReport
from builders.training.start import train
from specs.load import load_entry
from specs.recipe import load_recipe
from specs.schemas.recipe import DropSpec

#: Entry, data, and plain loop over the same files, by name of the case.
Ways = dict[str, tuple[str, Images, PlainImages]]
#: Rows of a batch that processes share, and numbers of processes.
SHARED, PROCESSES = 64, (1, 2, 4, 8)
ROWS = 16
WORKERS = (0, 1, 2)
#: Steps and batches of warm-up, not counted: workers start and files enter the cache.
WARM = 4


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


def packed(folder: Path, count: int, side: int) -> tuple[list[Path], Dataset]:
    """Write JPEG files like photographs; return their paths, and a dataset of the same files."""
    paths = photographs(folder / f"images{side}", count, side)
    pack(find_sources(folder / f"images{side}"), folder / f"set{side}", "photographs", PackSettings(val=False))
    found = open_dataset(folder / f"set{side}")
    assert isinstance(found, Dataset)
    return paths, found


def emoji_files(folder: Path) -> list[Path]:
    """Write the packaged emoji as files; return their paths."""
    folder.mkdir()
    paths = []
    emoji = open_dataset("noto-emoji-64")
    assert isinstance(emoji, Dataset)
    for member in emoji.load(64, memory=False).members[:512]:  # type: ignore[attr-defined]
        paths.append(folder / member.name.replace("/", "_"))
        paths[-1].write_bytes(member.read())
    return paths


def own_rate(entry: str, data: Images, part: tuple[int, int], batches: int) -> float:
    """Return the rows per CPU second of one of several processes."""
    graph = load_entry(entry).graph
    plan = BatchPlan(graph, "reading", 0, (SHARED,) * len(graph.levels), 1000, 0, DropSpec(), part=part, noise="rows")
    with closing(read_batches(plan, data, 0, None)) as stream:
        next(stream)
        start = time.process_time()
        rows = sum(len(next(stream).keys) for _ in range(batches))
        return rows / (time.process_time() - start)


def rates_of_processes(entry: str, data: Images, count: int, batches: int) -> float:
    """Return the mean of the rows per CPU second of processes that run at the same time."""
    context = multiprocessing.get_context("fork")
    with context.Pool(count) as pool:
        found = pool.starmap(own_rate, [(entry, data, (index, count), batches) for index in range(count)], chunksize=1)
    return statistics.mean(found)


def plain_rate(images: PlainImages, batches: int) -> float:
    """Return the rows per CPU second of the plain loop."""
    images.batch(0, SHARED)
    start = time.process_time()
    for number in range(1, batches + 1):
        images.batch(number * SHARED, SHARED)
    return batches * SHARED / (time.process_time() - start)


def emoji_ways(folder: Path) -> Ways:
    """Return the packaged emoji, decoded once or when drawn."""
    emoji, files = open_dataset("noto-emoji-64"), emoji_files(folder / "emoji")
    return {
        "emoji at 64 px": ("mdm-nano", emoji.load(64, memory=False), PlainImages(files, 64)),
        "emoji at 64 px, in memory": ("mdm-nano", emoji.load(64), PlainImages(files, 64)),
    }


def jpeg_ways(folder: Path) -> Ways:
    """Return JPEG images, decoded whole or reduced."""
    found: Ways = {}
    for stored, side, count, entry in ((256, 64, 128, "mdm-nano"), (1024, 256, 24, "mdm-s256")):
        paths, dataset = packed(folder, count, stored)
        for how, data in (("", dataset), (", reduced", with_reduced(dataset))):
            way = f"JPEG of {stored} px at {side}{how}"
            found[way] = (entry, data.load(side, memory=False), PlainImages(paths, side))
    return found


def measure_rows(rounds: int, batches: int, folder: Path, cases: Sequence[str]) -> None:
    """Print the rows per CPU second of each process."""
    ways: Ways = {}
    for case in cases:
        ways |= {"emoji": emoji_ways, "jpeg": jpeg_ways}[case](folder)
    found: dict[tuple[str, int], list[float]] = {(way, count): [] for way in ways for count in (0, *PROCESSES)}
    for _ in range(rounds):
        for way, count in found:
            entry, data, plain = ways[way]
            rate = rates_of_processes(entry, data, count, batches) if count else plain_rate(plain, batches)
            found[way, count].append(rate)
    print(f"\nrows per CPU second of a process, median of {rounds} rounds of {batches} batches of {SHARED} rows")
    print(f"{'':34}{'plain':>8}" + "".join(f"{f'{count} processes':>13}" for count in PROCESSES) + f"{'4 to 1':>9}")
    for way in ways:
        values = {count: statistics.median(found[way, count]) for count in (0, *PROCESSES)}
        shown = "".join(f"{values[count]:13,.0f}" for count in PROCESSES)
        print(f"{way:34}{values[0]:8,.0f}{shown}{values[4] / values[1]:9.2f}")


def seconds(call: Callable[[], object]) -> float:
    """Return the CPU seconds of a call."""
    start = time.process_time()
    call()
    return time.process_time() - start


def measure_reduced(rounds: int, folder: Path) -> None:
    """Print the time of decoding JPEG images whole and reduced, and the difference of levels."""
    print(f"\nJPEG images, median of {rounds} rounds: ms to decode and resize one, and difference of levels")
    print(f"{'':26}{'whole':>8}{'reduced':>9}{'ratio':>7}{'RMS':>7}{'largest':>9}")
    cases = [(side, target) for side in (256, 500, 1024) for target in (64, 128, 256) if side >= 4 * target]
    for side, target in [*cases, (500, 120)]:
        paths = photographs(folder / f"jpeg{side}-{target}", 12, side)
        contents = [path.read_bytes() for path in paths]

        def whole(target: int = target, contents: list[bytes] = contents) -> list[np.ndarray]:
            return [fit(decode_image(each, ""), target) for each in contents]

        def reduced(target: int = target, contents: list[bytes] = contents) -> list[np.ndarray]:
            return [fit_reduced(decode_reduced(each, "", target), target) for each in contents]

        error = np.stack(whole()).astype(int) - np.stack(reduced())
        times = [(seconds(whole), seconds(reduced)) for _ in range(rounds)]
        one, other = (statistics.median(each) / len(paths) * 1000 for each in zip(*times, strict=True))
        ratio = statistics.median(first / second for first, second in times)
        rms = float(np.sqrt((error**2).mean()))
        print(f"{f'{side} px at {target}':26}{one:8.2f}{other:9.2f}{ratio:7.2f}{rms:7.2f}{abs(error).max():9}")


def write_shards(folder: Path, shards: int, samples: int) -> None:
    """Write shards of samples with a caption, whose images are a few bytes that are never decoded."""
    folder.mkdir()
    for number in range(shards):
        with tarfile.open(folder / f"{number:04}.tar", "w") as tar:
            for index in range(samples):
                key = f"{number:04}{index:06}"
                caption = f"a made-up caption of sample {key} with a dozen words like those of web pages"
                text = f'{{"caption": "{caption}", "category": "{index % 100}"}}'.encode()
                for extension, content in (("jpg", b"no image"), ("json", text)):
                    info = tarfile.TarInfo(f"{key}.{extension}")
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
    (folder / "dataset.yaml").write_text("name: many\nlicence: CC0\nresolution: 64\n", encoding="utf-8")


def open_many(folder: Path) -> tuple[int, float, float]:
    """Open a large set in a process of its own; return its samples, CPU seconds, and MiB of memory of its own."""
    with multiprocessing.get_context("fork").Pool(1) as pool:
        return pool.apply(_open_many, (folder,))


def _open_many(folder: Path) -> tuple[int, float, float]:
    before = _own_memory()
    start = time.process_time()
    data = open_dataset(folder).load(64, memory=False)
    return len(data), time.process_time() - start, _own_memory() - before


def _own_memory() -> float:
    """Return the MiB of memory of this process that no file and no other process holds."""
    lines = Path("/proc/self/smaps_rollup").read_text(encoding="utf-8").splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Anonymous:")) / 1024


def measure_index(samples: int, folder: Path) -> None:
    """Print CPU seconds and memory of opening many samples."""
    shards = max(1, samples // 20_000)
    write_shards(folder / "many", shards, samples // shards)
    print(f"\nopening {samples:,} samples in {shards} shards: CPU s, and MiB of the process alone")
    for what in ("first", "again", "again"):
        count, taken, memory = open_many(folder / "many")
        print(f"{what:8}{taken:10.2f}{memory:10.0f}   ({count:,} in the split)")
    size = sum(path.stat().st_size for path in (folder / "cache" / "indexes").glob("*.arrow"))
    print(f"cache of indexes: {size / 2**20:.0f} MiB")


def measure_rates(rounds: int, batches: int, folder: Path) -> None:
    """Print the throughput of reading batches."""
    emoji, large = open_dataset("noto-emoji-64"), packed(folder, 128, 256)[1]
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
    """Measure and print what is asked for."""
    names = ("rows", "reduced", "index", "rates", "waits")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", default=names, choices=names, help="Measurements. Default: all.")
    parser.add_argument(
        "--cases", nargs="+", default=("emoji", "jpeg"), choices=("emoji", "jpeg"), help="Data of rows."
    )
    parser.add_argument("--rounds", type=int, default=3, help="Repetitions of every case.")
    parser.add_argument("--batches", type=int, default=30, help="Batches per round without training.")
    parser.add_argument("--steps", type=int, default=40, help="Training steps per round.")
    parser.add_argument("--samples", type=int, default=1_000_000, help="Samples of the set that is indexed.")
    options = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["ZOO_CACHE"] = str(folder / "cache")
        measures: dict[str, Callable[[], None]] = {
            "rows": lambda: measure_rows(options.rounds, options.batches, folder, options.cases),
            "reduced": lambda: measure_reduced(options.rounds, folder),
            "index": lambda: measure_index(options.samples, folder),
            "rates": lambda: measure_rates(options.rounds, options.batches, folder),
            "waits": lambda: measure_waits(options.rounds, options.steps, folder),
        }
        for what in options.what:
            measures[what]()


if __name__ == "__main__":
    main()
