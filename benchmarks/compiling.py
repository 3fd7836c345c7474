"""Training steps with compiled blocks: what compiling takes, and CPU seconds of steps in alternating rounds.

python -m benchmarks.compiling
python -m benchmarks.compiling --entry mdm-nano --level r32 --rows 8
"""

from __future__ import annotations

import argparse
import os
import statistics
from dataclasses import replace

import torch

from benchmarks.suite.inputs import random_batch
from builders.networks.compiling import block_modules, compiler_problem, room_for_kinds
from builders.training.distributed import Processes
from builders.training.phase import Phase
from builders.training.settings import phase_settings
from specs.load import load_entry
from specs.schemas.recipe import Recipe


def cpu_seconds() -> float:
    """Return CPU seconds of this process and of its children, such as compilers."""
    return sum(os.times()[:4])


def main() -> None:
    """Print what compiling takes and the ratio of the steps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entry", default="mdm-nano")
    parser.add_argument("--level", default="r16")
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    torch.set_num_threads(1)
    problem = compiler_problem(torch.device("cpu"))
    if problem is not None:
        raise SystemExit(f"nothing can be compiled here: {problem}")
    graph = load_entry(options.entry).graph.inner(options.level)
    phase_spec = {"train": options.level, "steps": 1000, "batch": options.rows}
    recipe = Recipe.model_validate(
        {"name": "benchmark", "entry": options.entry, "data": "noise", "phases": {"p": phase_spec}}
    )
    settings, batch = phase_settings(recipe, graph, "p"), random_batch(graph, options.rows, torch.device("cpu"))
    phases = {
        name: Phase(replace(settings, compile=name == "compiled"), Processes("cpu")) for name in ("plain", "compiled")
    }
    seconds: dict[str, list[float]] = {name: [] for name in phases}
    with room_for_kinds():
        for number in range(options.rounds + 2):
            for name, phase in phases.items():
                began = cpu_seconds()
                phase.step(number, batch)
                seconds[name].append(cpu_seconds() - began)
    blocks = len(block_modules(phases["plain"].model))
    ratios = sorted(plain / other for plain, other in zip(seconds["plain"][2:], seconds["compiled"][2:], strict=True))
    print(
        f"{options.entry} {options.level}, {options.rows} rows, {blocks} blocks, torch {torch.__version__}, one thread"
    )
    print(f"first steps: plain {sum(seconds['plain'][:2]):.1f} s, compiled {sum(seconds['compiled'][:2]):.1f} s")
    for name, each in seconds.items():
        print(f"{name:10} {1e3 * statistics.median(each[2:]):8.1f} ms")
    print(f"ratio {statistics.median(ratios):.2f}, {ratios[0]:.2f} to {ratios[-1]:.2f}")


if __name__ == "__main__":
    main()
