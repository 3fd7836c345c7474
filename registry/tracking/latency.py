"""Latency: how long a forward pass of an entry takes on this machine."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from registry.entry import Entry

__all__ = ["MOST_FLOPS", "forward_milliseconds"]

#: Entries with more FLOPs are not timed: building them takes too long.
MOST_FLOPS = 5e9
ROUNDS = 5


def forward_milliseconds(entry: Entry) -> float:
    """Return the median time of a forward pass of one sample on the CPU, with random weights."""
    import torch

    levels = entry.architecture.levels
    model = entry.build().eval()
    z = [torch.zeros(shape) for shape in ((1, level.channels, *level.size.shape) for level in levels)]
    times = []
    with torch.inference_mode():
        context = model.encode()
        for _ in range(ROUNDS + 1):
            started = time.perf_counter()
            model(z, torch.zeros(1), context)
            times.append(1000 * (time.perf_counter() - started))
    return statistics.median(times[1:])  # the first pass warms up
