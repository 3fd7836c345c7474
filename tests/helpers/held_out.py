"""A split of made-up images to measure on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

__all__ = ["SPREAD", "Split"]

#: Deviation of the pixels.
SPREAD = 0.7


class Split:
    """A split of normal images whose deviation is ``SPREAD``, named by numbers."""

    def __init__(self, count: int, side: int, frames: int = 1, first: int = 0) -> None:
        self.names = [f"n{number}" for number in range(first, first + count)]
        shape = (side, side) if frames == 1 else (frames, side, side)
        seeds = (torch.Generator().manual_seed(number) for number in range(first, first + count))
        self.images = torch.stack([torch.randn(3, *shape, generator=seed) for seed in seeds]) * SPREAD
        self.asked: list[int | None] = []

    def in_order(self, batch_size: int, *, most: int | None = None) -> Iterator[dict[str, Any]]:
        self.asked.append(most)
        count = min(len(self.names), most or len(self.names))
        for start in range(0, count, batch_size):
            rows = slice(start, min(count, start + batch_size))
            yield {"image": self.images[rows], "key": self.names[rows]}
