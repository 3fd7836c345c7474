"""Training steps with compiled blocks, and with channels last in memory, in alternating rounds on one thread.

python -m benchmarks.compiling
python -m benchmarks.compiling --entry mdm-nano --level r32 --rows 8 --cases channels_last
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch

from benchmarks.suite.inputs import random_batch
from builders.networks.compiling import block_modules, compiler_problem, room_for_kinds
from builders.training.distributed import Processes
from builders.training.phase import Phase
from builders.training.settings import phase_settings
from specs.load import load_entry
from specs.schemas.recipe import Recipe

#: Steps in which everything is compiled; the rest is measured.
FIRST = 2
#: Settings of a phase that are compared with none.
CASES = ("compile", "channels_last")


def cpu_seconds() -> float:
    """Return CPU seconds of this process and of its children, such as compilers."""
    return time.process_time() + sum(os.times()[2:4])


@contextmanager
def empty_cache() -> Iterator[None]:
    """Compile into an empty folder, in children that are waited for, so that their time counts."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"TORCHINDUCTOR_CACHE_DIR": folder, "TORCHINDUCTOR_COMPILE_THREADS": "1"}
        yield


def main() -> None:
    """Print what the first steps take, the median of the others, and their ratio to plain ones."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entry", default="mdm-nano")
    parser.add_argument("--level", default="r16")
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=CASES)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with empty_cache(), room_for_kinds():
        problem = compiler_problem(torch.device("cpu")) if "compile" in options.cases else None
        if problem is not None:
            raise SystemExit(f"nothing can be compiled here: {problem}")
        measure(options)


def measure(options: argparse.Namespace) -> None:
    """Take the steps and print the table."""
    graph = load_entry(options.entry).graph.inner(options.level)
    phase_spec = {"train": options.level, "steps": 1000, "batch": options.rows}
    recipe = Recipe.model_validate(
        {"name": "benchmark", "entry": options.entry, "data": "noise", "phases": {"p": phase_spec}}
    )
    settings, batch = phase_settings(recipe, graph, "p"), random_batch(graph, options.rows, torch.device("cpu"))
    processes, phases = Processes("cpu", options.precision), {}
    for name in ("plain", *options.cases):
        changes: dict[str, Any] = {} if name == "plain" else {name: True}
        phases[name] = Phase(replace(settings, **changes), processes)
    seconds: dict[str, list[float]] = {name: [] for name in phases}
    for number in range(options.rounds + FIRST):
        for name, phase in phases.items():
            began = cpu_seconds()
            phase.step(number, batch)
            seconds[name].append(cpu_seconds() - began)
    blocks = len(block_modules(phases["plain"].model))
    print(f"{options.entry} {options.level}, {options.rows} rows, {blocks} blocks, {options.precision}, one thread")
    print(f"torch {torch.__version__}; CPU time")
    for name, each in seconds.items():
        pairs = zip(seconds["plain"][FIRST:], each[FIRST:], strict=True)
        ratios = sorted(plain / other for plain, other in pairs)
        median, middle = 1e3 * statistics.median(each[FIRST:]), statistics.median(ratios)
        print(
            f"{name:14} first {FIRST} steps {sum(each[:FIRST]):6.1f} s, then {median:7.1f} ms, "
            f"ratio {middle:.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        )


if __name__ == "__main__":
    main()
