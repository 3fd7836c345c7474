"""Tensors that are divided among processes: torch's DTensor, made from whole tensors and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

__all__ = ["is_sharded", "local", "placed_like", "small_like", "whole"]


def is_sharded(value: Any) -> bool:
    """Return whether a tensor is divided among processes."""
    # Such a tensor cannot exist before torch's own module is imported, which takes a second.
    import sys

    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(value, module.DTensor)


@torch.no_grad()
def local(value: Any) -> Tensor:
    """Return this process's part of a tensor, sharing its memory; the tensor itself if it is not sharded."""
    return value.to_local() if is_sharded(value) else value


def small_like(value: Any) -> Tensor:
    """Return a small matrix of ones on the device of a tensor, divided among processes as it is."""
    if not is_sharded(value):
        return torch.ones(2, 2, device=value.device)
    from torch.distributed.tensor import distribute_tensor

    ones = torch.ones(2 * value.device_mesh.size(), 2, device=value.device)
    return distribute_tensor(ones, value.device_mesh, value.placements, src_data_rank=None)


def placed_like(value: Tensor, like: Any) -> Tensor:
    """Return a tensor that every process has, divided among them as another one of the same shape is.

    Args:
        value: Whole tensor, the same in all processes.
        like: Tensor whose placement is taken.

    Returns:
        A sharded tensor; ``value`` itself if ``like`` is not sharded or has another shape, or ``value`` is sharded.
    """
    if not is_sharded(like) or is_sharded(value) or value.shape != like.shape:
        return value
    from torch.distributed.tensor import distribute_tensor

    # Without a source nothing is sent: each process takes its part of its own copy.
    return distribute_tensor(value, like.device_mesh, like.placements, src_data_rank=None)


@torch.no_grad()
def whole(tensors: Mapping[str, Tensor], *, keep: bool) -> dict[str, Tensor]:
    """Gather tensors, one after the other, on the CPU. All processes must call this.

    Args:
        tensors: Tensors by name, sharded or not.
        keep: Whether this process wants them.

    Returns:
        Whole tensors by name; empty if they are not wanted.
    """
    found = {}
    for name, value in tensors.items():
        gathered = value.full_tensor() if is_sharded(value) else value  # type: ignore[attr-defined]
        if keep:
            found[name] = gathered.cpu()
    return found
