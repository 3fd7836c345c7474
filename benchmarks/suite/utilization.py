"""Training and sampling steps of the zoo: FLOP/s, the share of the device's peak, and memory beside the rules.

Images and text are random and lie on the device. FLOPs are those of the blocks' rules for a forward pass, times three
for a training step; a step with checkpointing computes more, which does not count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch

from benchmarks.suite.comparing import Options
from benchmarks.suite.inputs import graph_of, random_batch
from benchmarks.suite.measuring import alternate
from benchmarks.suite.trainers import encoder_of, zoo_recipe, zoo_step
from registry.costs.memory import activation_memory
from registry.costs.requirements import phase_memory
from registry.costs.totals import count
from specs.accelerators import find_accelerator

__all__ = ["Utilization", "peak_rate", "utilization"]

#: Entries and rows on a GPU.
CASES = ("mdm-nano:64", "mdm-s64:32", "mdm-s256:8")


@dataclass(frozen=True)
class Utilization:
    """One entry at one precision.

    Attributes:
        precision: Precision of activations.
        entry: Name of the entry.
        rows: Rows of a batch.
        training: Seconds of a training step.
        sampling: Seconds of a forward pass without gradients.
        flops: FLOPs of a forward pass of all rows.
        peak: Peak rate of the device in FLOP/s; None if it is unknown.
        memory: Most bytes allocated in training; 0 on the CPU, where torch does not count.
        rule: Bytes that the rules ask for.
        state: Bytes of weights, average, gradients and moments.
        saved: Bytes of activations by the rules, in float32.
    """

    precision: str
    entry: str
    rows: int
    training: float
    sampling: float
    flops: int
    peak: float | None
    memory: int
    rule: int
    state: int
    saved: int

    @property
    def used(self) -> tuple[float | None, float | None]:
        """Shares of the peak rate in training (model FLOPs utilization) and in sampling."""
        rates = 3 * self.flops / self.training, self.flops / self.sampling
        return tuple(None if self.peak is None else rate / self.peak for rate in rates)  # type: ignore[return-value]

    def record(self) -> dict[str, Any]:
        """Return the numbers as plain data."""
        return {"benchmark": "utilization", **asdict(self), "used": self.used}


def peak_rate(device: torch.device, precision: str) -> float | None:
    """Return the peak rate of a device in FLOP/s by its data sheet, that of TF32 for float32; None if it is unknown."""
    found = find_accelerator(torch.cuda.get_device_name(device)) if device.type == "cuda" else None
    return None if found is None else found[1].rate(precision)


def utilization(options: Options) -> Iterator[Utilization]:
    """Measure training and sampling steps of the zoo alone: FLOP/s, share of the peak rate, memory."""
    device = torch.device(options.device)
    gpu = device.type == "cuda"
    entries = [(name, int(rows)) for name, _, rows in (case.partition(":") for case in CASES)]
    chosen = entries if gpu and not options.cases and not options.quick else options.entries
    for precision in ("bfloat16", "float32") if gpu else ("float32",):
        for name, rows in chosen:
            yield measure(name, rows, precision, options)
            if gpu:
                torch.cuda.empty_cache()


def measure(entry: str, rows: int, precision: str, options: Options) -> Utilization:
    """Measure one entry."""
    graph = graph_of(entry)
    phase, step = zoo_step(graph, rows, options.device, precision=precision)
    device = phase.processes.device
    before = _allocated(device)
    training = _seconds(step, options)
    memory = torch.cuda.max_memory_allocated() if device.type == "cuda" else 0
    batch = random_batch(graph, rows, device)
    phase.model.eval()
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        context = phase.model.encode(**batch.conditions(encoder_of(graph, device)), batch_size=rows)
        sampling = _seconds(lambda: phase.model(batch.images, batch.t, context), options)
    moments = 3 * sum(value.numel() * value.element_size() for _, value in phase.trained)
    recipe = zoo_recipe(graph, rows, precision=precision)
    return Utilization(
        precision,
        entry,
        rows,
        training,
        sampling,
        flops=2 * rows * count(graph).total.macs,
        peak=peak_rate(device, precision),
        memory=memory,
        rule=phase_memory(recipe, graph, "p", half=precision != "float32", gpu=device.type == "cuda").peak,
        state=before + moments,
        saved=rows * activation_memory(graph)[0].training,
    )


def _seconds(call: Callable[[], object], options: Options) -> float:
    rounds = 1 if options.quick else max(options.rounds, 5)
    return alternate({"call": call}, rounds, device=options.device)["call"].median(options.device)


def _allocated(device: torch.device) -> int:
    if device.type != "cuda":
        return 0
    torch.cuda.reset_peak_memory_stats()
    return torch.cuda.memory_allocated()
