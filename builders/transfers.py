"""Copies of tensors to a device, without waiting for it."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["to_device"]


def to_device(value: Tensor, device: torch.device | str) -> Tensor:
    """Return a tensor on a device. A GPU copies it in its turn, and nothing waits for that.

    Such a copy needs pinned memory. A tensor of the CPU that is not pinned is pinned first.
    """
    device = torch.device(device)
    if device.type == "cuda" and value.device.type == "cpu" and not value.is_pinned():
        value = value.pin_memory()
    return value.to(device, non_blocking=True)
