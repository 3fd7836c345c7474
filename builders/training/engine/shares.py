"""Computations that processes divide among themselves: each does a share, and all get all results."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch
from torch import Tensor, distributed

__all__ = ["in_shares"]

T = TypeVar("T")


def in_shares(
    items: Sequence[T], shapes: Sequence[Sequence[int]], costs: Sequence[float], compute: Callable[[T], Tensor]
) -> Iterator[Tensor]:
    """Yield the result of each item, in their order. Of several processes, each computes some and gets all.

    Results do not depend on the number of processes. A process computes at least one item, perhaps one of another
    process, from which it takes the dtype and the device.

    Args:
        items: Items, at least one, the same in all processes.
        shapes: Shape of the result of each item.
        costs: Relative time that each item takes.
        compute: Function from an item to its result; all results have the same dtype and device.
    """
    processes = distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1
    if processes == 1:
        yield from map(compute, items)
        return
    rank, owners = distributed.get_rank(), _owners(costs, processes)
    own = [compute(item).flatten() for item, owner in zip(items, owners, strict=True) if owner == rank]
    sizes: list[list[int]] = [[] for _ in range(processes)]
    for shape, owner in zip(shapes, owners, strict=True):
        sizes[owner].append(math.prod(shape))
    like = own[0] if own else compute(items[0])
    sent = like.new_zeros(max(map(sum, sizes)))  # processes send as many values
    if own:
        torch.cat(own, out=sent[: sum(sizes[rank])])
    received = [torch.empty_like(sent) for _ in range(processes)]
    distributed.all_gather(received, sent)
    parts = [iter(each[: sum(own_sizes)].split(own_sizes)) for each, own_sizes in zip(received, sizes, strict=True)]
    yield from (next(parts[owner]).view(*shape) for owner, shape in zip(owners, shapes, strict=True))


def _owners(costs: Sequence[float], processes: int) -> list[int]:
    """Return the process of each item: the most costly first, each to the process with the least so far."""
    loads, owners = [0.0] * processes, [0] * len(costs)
    for index in sorted(range(len(costs)), key=lambda each: -costs[each]):
        owners[index] = loads.index(min(loads))
        loads[owners[index]] += costs[index]
    return owners
