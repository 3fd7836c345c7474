"""The formula that every weight and input of the golden numbers comes from (tests/golden/README.md)."""

from __future__ import annotations

import zlib

import numpy as np
import torch
from torch import Tensor

__all__ = ["parameter", "tensor", "uniform"]


def uniform(name: str, count: int) -> np.ndarray:
    """``count`` float64 numbers in [-1, 1): splitmix64 over (crc32(name) << 32) + i, the top 53 bits."""
    state = np.arange(count, dtype=np.uint64) + np.uint64(zlib.crc32(name.encode()) << 32)
    with np.errstate(over="ignore"):
        state = state + np.uint64(0x9E3779B97F4A7C15)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state = state ^ (state >> np.uint64(31))
    return 2 * ((state >> np.uint64(11)).astype(np.float64) / 2.0**53) - 1


def tensor(name: str, shape: tuple[int, ...] | list[int], factor: float = 1.0) -> Tensor:
    """A float32 tensor of ``factor`` times the formula's numbers, in C order."""
    return torch.from_numpy((factor * uniform(name, int(np.prod(shape)))).reshape(shape).astype(np.float32))


def parameter(key: str, shape: tuple[int, ...] | list[int]) -> Tensor:
    """The weight with the published name ``key``."""
    values = uniform(key, int(np.prod(shape)))
    if len(shape) == 1:
        values = 0.1 * values + (1 if key.endswith("weight") else 0)
    else:
        values = values * np.sqrt(3 / np.prod(shape[1:]))
    return torch.from_numpy(values.reshape(shape).astype(np.float32))
