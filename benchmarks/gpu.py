"""Training steps and sampling steps of the large entries on one GPU: time, FLOP/s, memory beside the blocks' rules.

Weights and images are random, and images come from no file: the GPU alone is measured. "FLOP/s used" divides the FLOPs
of the forward pass (times three for a training step) by the time and by the peak rate of the device, if it is known.
Without a GPU the small entry alone is measured, to check that this script runs.

    python benchmarks/gpu.py
    python benchmarks/gpu.py --precision float32 --cases mdm-s64:16 mdm-s256:4
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from builders.training.batches import Batch
from builders.training.distributed import Processes
from builders.training.phase import Phase
from builders.training.settings import phase_settings
from registry.costs.memory import activation_memory
from registry.costs.requirements import phase_memory
from registry.costs.totals import count
from specs.graph import EntryGraph
from specs.load import load_entry
from specs.schemas.recipe import Recipe

#: Entry and rows of each case.
CASES = ("mdm-nano:64", "mdm-s64:32", "mdm-s256:8")
#: Peak rates in FLOP/s of dense matrix products, by device and precision (data sheet of the H100 and H200 SXM). That of
#: float32 is the rate of TF32, in which cuDNN computes convolutions unless it is forbidden.
PEAKS = {
    ("H100", "bfloat16"): 989e12, ("H100", "float32"): 494e12,
    ("H200", "bfloat16"): 989e12, ("H200", "float32"): 494e12,
}  # fmt: skip


class RandomText:
    """A text encoder that returns random states, all tokens valid."""

    def __init__(self, width: int, tokens: int, device: torch.device) -> None:
        self.states = torch.randn(1, tokens, width, device=device)

    def __call__(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        states = self.states.expand(len(captions), -1, -1)
        return states, torch.ones(states.shape[:2], dtype=torch.bool, device=states.device)


def random_batch(graph: EntryGraph, rows: int, device: torch.device) -> Batch:
    """Return a batch of noise for every level, and random conditions."""
    shapes = [
        (rows, level.channels, *[level.size.frames] * (level.size.frames > 1), level.resolution, level.resolution)
        for level in graph.levels
    ]
    images, eps = ([torch.randn(shape, device=device).clamp(-1, 1) for shape in shapes] for _ in range(2))
    return Batch(
        images=images,
        t=torch.randint(0, graph.process.steps, (rows,), device=device),
        eps=eps,
        classes=None if graph.classes is None else torch.randint(0, graph.classes, (rows,), device=device),
        captions=("",) * rows,
        without_text=None if graph.text is None else torch.zeros(rows, dtype=torch.bool, device=device),
        keys=("",) * rows,
    )


def median_seconds(call: Callable[[], Any], rounds: int, device: torch.device) -> float:
    """Return the median time of a call, after three that are not counted."""
    seconds = []
    for number in range(rounds + 3):
        if device.type == "cuda":
            torch.cuda.synchronize()
        began = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize()
        if number >= 3:
            seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def peak_rate(device: torch.device, precision: str) -> float | None:
    """Return the peak rate of a device in FLOP/s, or None if it is unknown."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    return next((rate for (kind, what), rate in PEAKS.items() if kind in name and what == precision), None)


def measure(entry: str, rows: int, precision: str, rounds: int, device: torch.device) -> None:
    """Measure one entry, and print its line."""
    graph = load_entry(entry).graph
    phase_spec = {"train": graph.labels[0], "steps": 1000, "batch": rows}
    recipe = Recipe.model_validate(
        {"name": "benchmark", "entry": entry, "data": "noise", "precision": precision, "phases": {"p": phase_spec}}
    )
    processes = Processes(device, precision)
    phase = Phase(phase_settings(recipe, graph, "p"), processes)
    batch = random_batch(graph, rows, processes.device)
    encoder: Any = None if graph.text is None else RandomText(graph.text.width, graph.text.tokens, processes.device)
    steps = iter(range(10**6))
    before = _allocated(device)
    training = median_seconds(lambda: phase.step(next(steps), batch, encoder=encoder), rounds, processes.device)
    peak = _peak(device)
    phase.model.eval()
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        context = phase.model.encode(**batch.conditions(encoder), batch_size=rows)
        sampling = median_seconds(lambda: phase.model(batch.images, batch.t, context), rounds, processes.device)
    flops = 2 * rows * count(graph).total.macs
    limit = peak_rate(device, precision)
    used = [f"{100 * factor * flops / seconds / limit:5.1f} %" if limit else "-" for factor, seconds in
            ((3, training), (1, sampling))]  # fmt: skip
    rule = phase_memory(recipe, graph, "p", half=precision != "float32")
    state = bytes_of_state(phase)
    print(
        f"{entry:14} {rows:4} {1e3 * training:9.1f} {3 * flops / training / 1e12:8.2f} {used[0]:>8} "
        f"{1e3 * sampling:9.1f} {flops / sampling / 1e12:8.2f} {used[1]:>8} "
        f"{peak / 2**30:8.2f} {rule.total / 2**30:8.2f} {(before + state) / 2**30:7.2f} "
        f"{rows * activation_memory(graph)[0].training / 2**30:8.2f}",
        flush=True,
    )


def bytes_of_state(phase: Phase) -> int:
    """Return the bytes of the gradients and the optimizer's moments, which the first step allocates."""
    return 3 * sum(value.numel() * value.element_size() for _, value in phase.trained)


def _allocated(device: torch.device) -> int:
    if device.type != "cuda":
        return 0
    torch.cuda.reset_peak_memory_stats()
    return torch.cuda.memory_allocated()


def _peak(device: torch.device) -> int:
    return torch.cuda.max_memory_allocated() if device.type == "cuda" else 0


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", default=None, help="Entries and rows, such as mdm-s64:32.")
    parser.add_argument("--precision", default=None, choices=("bfloat16", "float32"), help="Default: both on a GPU.")
    parser.add_argument("--rounds", type=int, default=10, help="Timed calls of every case.")
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    gpu = device.type == "cuda"
    name = torch.cuda.get_device_name() if gpu else f"CPU ({platform.machine()}, {torch.get_num_threads()} threads)"
    print(f"{name}, PyTorch {torch.__version__}")
    print(
        "entry          rows  train ms  TFLOP/s     used  sample ms TFLOP/s     used peak GiB rule GiB  state  saved "
    )
    for precision in [options.precision] if options.precision else ["bfloat16", "float32"] if gpu else ["float32"]:
        print(precision)
        for case in options.cases or (CASES if gpu else ("mdm-nano:2",)):
            entry, _, rows = case.partition(":")
            measure(entry, int(rows), precision, options.rounds, device)
            if gpu:
                torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
