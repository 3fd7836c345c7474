"""Measuring calls in alternation: their times, and the ratio of two of them."""

from __future__ import annotations

import math
import resource
import statistics
import time
import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["Alive", "Ratio", "Times", "alternate", "cpu_seconds", "peak_bytes", "ratio", "saved_bytes"]

Calls = Mapping[str, Callable[[], object]]


def cpu_seconds() -> float:
    """Return the CPU time of this process and of its finished child processes."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


@dataclass(frozen=True)
class Times:
    """Seconds of a call, by round.

    Attributes:
        cpu: CPU time of the process and its children.
        wall: Time by the clock.
    """

    cpu: tuple[float, ...]
    wall: tuple[float, ...]

    def seconds(self, device: torch.device | str) -> tuple[float, ...]:
        """Return the times that count: CPU time, because others may use the machine; by the clock for a GPU."""
        return self.wall if torch.device(device).type == "cuda" else self.cpu

    def median(self, device: torch.device | str) -> float:
        """Return the median of :meth:`seconds`."""
        return statistics.median(self.seconds(device))


@dataclass(frozen=True)
class Ratio:
    """Median, smallest and largest of the ratios of all rounds."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f} to {self.high:.2f})"


def ratio(one: tuple[float, ...], other: tuple[float, ...]) -> Ratio:
    """Return the ratio of two calls that were measured in the same rounds."""
    found = [a / b if b else math.inf for a, b in zip(one, other, strict=True)]
    return Ratio(statistics.median(found), min(found), max(found))


def alternate(
    calls: Calls, rounds: int, *, device: torch.device | str = "cpu", least: float = 0.0, warm: bool = True
) -> dict[str, Times]:
    """Measure calls in rounds, each of which runs all of them, beginning with another one than the round before.

    Whatever else the machine does affects all calls alike.

    Args:
        calls: Calls by name.
        rounds: Number of rounds.
        device: Device that the calls compute on. A GPU is waited for.
        least: Least seconds of a measurement; a shorter call is repeated, and the mean counts.
        warm: Whether each call runs once before, which is not counted.
    """
    names, gpu = list(calls), torch.device(device).type == "cuda"
    repeats = dict.fromkeys(names, 1)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in names}

    def measured(name: str) -> tuple[float, float]:
        if gpu:
            torch.cuda.synchronize()
        began, cpu = time.perf_counter(), cpu_seconds()
        for _ in range(repeats[name]):
            calls[name]()
        if gpu:
            torch.cuda.synchronize()
        return (cpu_seconds() - cpu) / repeats[name], (time.perf_counter() - began) / repeats[name]

    if warm:
        for name in names:
            once = measured(name)[1 if gpu else 0]
            repeats[name] = max(1, math.ceil(least / max(once, 1e-6)))
    for number in range(rounds):
        start = number % len(names)
        for name in names[start:] + names[:start]:
            found[name].append(measured(name))
    return {name: Times(*zip(*values, strict=True)) for name, values in found.items()}


class Alive(TorchDispatchMode):
    """Counts the bytes of the tensors that are made while it is active; ``peak`` is the most alive at once."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[int] = set()
        self.now = self.peak = 0

    def _free(self, key: int, size: int) -> None:
        self.now -= size
        self.seen.discard(key)

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(tensor, Tensor) and not isinstance(tensor, torch.nn.Parameter):
                storage = tensor.untyped_storage()
                key = storage._cdata
                if key not in self.seen:
                    self.seen.add(key)
                    self.now += storage.nbytes()
                    weakref.finalize(storage, self._free, key, storage.nbytes())
        self.peak = max(self.peak, self.now)
        return result


def saved_bytes(run: Callable[[], object], weights: Iterable[Tensor]) -> int:
    """Return the bytes that autograd saves in a forward pass for the backward one, beside weights.

    Args:
        run: Function to call. Its result is held until the end.
        weights: Tensors that are not counted.
    """
    known = {weight.untyped_storage().data_ptr() for weight in weights}
    storages = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            storages[storage.data_ptr()] = storage  # held, so that no address is used twice
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = run()
    assert result is not None
    return sum(storage.nbytes() for storage in storages.values())


def peak_bytes(call: Callable[[], object], device: torch.device | str = "cpu") -> int:
    """Return the most memory that the tensors a call makes take at once, in bytes.

    On a GPU it is what torch's allocator counts, beyond what was allocated before.
    """
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    with Alive() as alive:
        call()
    return alive.peak
