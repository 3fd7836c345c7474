"""Training steps on the CPU in float32 and in bfloat16: CPU seconds in alternating rounds, and their ratio.

Weights and images are random. ``precision: auto`` follows from these numbers (``builders/precision.py``). One thread
computes by default, because threads that wait for each other also take CPU time.

    python -m benchmarks.precision
    python -m benchmarks.precision --cases mdm-nano:r64:8 --rounds 5
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch

from benchmarks.suite.inputs import RandomText, random_batch
from builders.training.distributed import Processes
from builders.training.phase import Phase
from builders.training.settings import phase_settings
from registry.costs.totals import count
from specs.graph import EntryGraph
from specs.load import load_entry
from specs.schemas.recipe import Recipe

#: Entry, level and rows of each case.
CASES = (
    "mdm-micro:r16:8", "mdm-nano:r16:16", "mdm-nano:r32:8", "mdm-nano:r64:4", "doll-n32:r32:4",
)  # fmt: skip


def started_phase(entry: str, graph: EntryGraph, rows: int, precision: str) -> tuple[Phase, Processes]:
    """Return a phase that trains a level with all levels inside it."""
    phase_spec = {"train": graph.labels[0], "steps": 1000, "batch": rows}
    settings = {"name": "benchmark", "entry": entry, "data": "noise", "precision": precision}
    recipe = Recipe.model_validate(settings | {"phases": {"p": phase_spec}})
    processes = Processes("cpu", precision)
    return Phase(phase_settings(recipe, graph, "p"), processes), processes


def measure(entry: str, label: str, rows: int, rounds: int) -> None:
    """Measure one level of an entry, and print its line."""
    graph = load_entry(entry).graph.inner(label)
    batch = random_batch(graph, rows, torch.device("cpu"))
    encoder = None if graph.text is None else RandomText(graph.text.width, graph.text.tokens, torch.device("cpu"))
    phases = {}
    for precision in ("float32", "bfloat16"):
        phases[precision], _ = started_phase(entry, graph, rows, precision)
    seconds: dict[str, list[float]] = {precision: [] for precision in phases}
    for number in range(rounds + 1):
        for precision, phase in phases.items():
            began = time.process_time()
            phase.step(number, batch, encoder=encoder)  # type: ignore[arg-type]
            if number:
                seconds[precision].append(time.process_time() - began)
    ratios = sorted(a / b for a, b in zip(seconds["float32"], seconds["bfloat16"], strict=True))
    median = {precision: statistics.median(each) for precision, each in seconds.items()}
    width = max(node.width for level in graph.levels for node in level.nodes if node.block != "nest")
    macs = count(graph).total.macs
    print(
        f"{entry:14} {label:6} {rows:4} {width:6} {2 * macs / 1e9:10.2f} {median['float32']:9.3f} "
        f"{median['bfloat16']:9.3f} {statistics.median(ratios):7.2f} {ratios[0]:6.2f} to {ratios[-1]:.2f}",
        flush=True,
    )


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", default=CASES, help="Entries, levels and rows, such as mdm-nano:r32:8.")
    parser.add_argument("--rounds", type=int, default=5, help="Timed steps of each precision, in turn.")
    parser.add_argument("--threads", type=int, default=1, help="Threads of torch.")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    known = {name for name, there in torch.cpu.get_capabilities().items() if there is True}
    print(
        f"torch {torch.__version__}, {options.threads} threads, {', '.join(sorted(known & FLAGS)) or 'no bf16 units'}"
    )
    print(
        f"{'entry':14} {'level':6} {'rows':>4} {'width':>6} {'GFLOPs/row':>10} {'float32 s':>9} {'bfloat16':>9} ratio"
    )
    for case in options.cases:
        entry, label, rows = case.rsplit(":", 2)
        measure(entry, label, int(rows), options.rounds)


#: Capabilities of processors that compute in bfloat16.
FLAGS = {"amx_bf16", "avx512_bf16"}

if __name__ == "__main__":
    main()
