"""The order in which samples are drawn: an endless stream that depends on a seed and a position alone."""

from __future__ import annotations

import torch
from torch import Tensor

from builders.seeds import hashed_generator

__all__ = ["SampleOrder"]


class SampleOrder:
    """One permutation of ``count`` samples after another.

    The n-th sample depends on the seed and on n alone, so training that knows how many samples it has drawn goes on
    exactly where it stopped, whatever the batch size and the number of processes.
    """

    def __init__(self, count: int, seed: int = 0) -> None:
        self.count, self.seed = count, seed
        self._epochs: dict[int, tuple[Tensor, Tensor]] = {}

    def draw(self, start: int, size: int) -> tuple[Tensor, Tensor]:
        """Indices (size,) of samples ``start`` to ``start + size`` of the stream, and which are mirrored (size,) bool.

        Raises:
            ValueError: the start is negative, or there is nothing to draw.
        """
        if start < 0 or size < 1:
            raise ValueError(f"a batch of {size} samples from {start}: neither may be negative, nor the batch empty")
        parts = []
        while size > 0:
            epoch, offset = divmod(start, self.count)
            order, mirrored = self._epoch(epoch)
            parts.append((order[offset : offset + size], mirrored[offset : offset + size]))
            start, size = start + len(parts[-1][0]), size - len(parts[-1][0])
        return torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])

    def _epoch(self, epoch: int) -> tuple[Tensor, Tensor]:
        if epoch not in self._epochs:
            while len(self._epochs) > 1:
                self._epochs.pop(next(iter(self._epochs)))
            generator = hashed_generator(self.seed, epoch)
            order = torch.randperm(self.count, generator=generator)
            self._epochs[epoch] = order, torch.rand(self.count, generator=generator) < 0.5
        return self._epochs[epoch]
