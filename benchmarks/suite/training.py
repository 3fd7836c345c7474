"""The training step: its time, and the memory of its tensors."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.suite.comparing import Comparison, Options, compare, counted, zoo_model
from benchmarks.suite.inputs import graph_of
from benchmarks.suite.measuring import Ratio, peak_bytes
from benchmarks.suite.trainers import plain_step, zoo_step

__all__ = ["memory", "step"]

MIB = 2**20


def step(options: Options) -> Iterator[Comparison]:
    """Measure a training step: noise, loss, gradients, clipping, AdamW and the moving average."""
    for name, rows in options.entries:
        graph = graph_of(name)
        weights = zoo_model(graph, "cpu").state_dict()
        _, plain = plain_step(graph, rows, options.device, weights=weights)
        _, zoo = zoo_step(graph, rows, options.device, weights=weights)
        yield compare("step", f"{name}, {counted(rows, 'row')}", plain, zoo, options)


def memory(options: Options) -> Iterator[Comparison]:
    """Measure the most memory of a training step, without checkpointing and with it.

    Weights, moments and averages are not counted, gradients are. On the CPU these are the tensors that a step makes; on
    a GPU it is what the allocator counts.
    """
    for name, rows in options.entries:
        graph = graph_of(name)
        weights = zoo_model(graph, "cpu").state_dict()
        _, plain = plain_step(graph, rows, options.device, weights=weights)
        plain()  # allocates the moments
        before = peak_bytes(plain, options.device)
        for checkpoint in ((), graph.labels):
            _, zoo = zoo_step(graph, rows, options.device, weights=weights, memory={"checkpoint": list(checkpoint)})
            zoo()
            after = peak_bytes(zoo, options.device)
            case = f"{name}, {counted(rows, 'row')}{', all levels checkpointed' if checkpoint else ''}"
            ratio = Ratio(*[before / after] * 3)
            yield Comparison("memory", case, "MiB", before / MIB, after / MIB, ratio, None, 1)
