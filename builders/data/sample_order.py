"""The order in which samples are drawn: an endless stream that depends only on a seed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import torch
from torch import Tensor

from builders.seeds import hashed_generator

__all__ = ["SampleOrder"]


class SampleOrder:
    """An endless sequence of permutations.

    Sample n depends only on the seed and n, so training that knows how many samples it has drawn resumes exactly, with
    any batch size and any number of processes.

    Args:
        count: Number of samples.
        seed: Seed of the permutations.
    """

    def __init__(self, count: int, seed: int = 0) -> None:
        self.count, self.seed = count, seed
        self._epochs: dict[int, tuple[Tensor, Tensor]] = {}

    def draw(self, start: int, size: int) -> tuple[Tensor, Tensor]:
        """Draw samples ``start`` to ``start + size`` of the stream.

        Returns:
            Indices of the samples (size,) int64, and whether each is mirrored (size,) bool.

        Raises:
            ValueError: ``start`` is negative, or ``size`` is not positive.
        """
        if start < 0 or size < 1:
            raise ValueError(f"start must not be negative and size must be positive, not {start} and {size}")
        return self.at(range(start, start + size))

    def at(self, places: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Draw the samples at some places of the stream; the result is that of :meth:`draw`.

        Args:
            places: Places in the stream, from 0. Those of one epoch should follow one another.
        """
        parts = []
        for epoch, found in groupby(places, lambda place: place // self.count):
            order, mirrored = self._epoch(epoch)
            within = torch.tensor([place % self.count for place in found])
            parts.append((order[within], mirrored[within]))
        return torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])

    def _epoch(self, epoch: int) -> tuple[Tensor, Tensor]:
        """Return the permutation of an epoch and which samples are mirrored; the last two epochs are cached."""
        if epoch not in self._epochs:
            while len(self._epochs) > 1:
                self._epochs.pop(next(iter(self._epochs)))
            generator = hashed_generator(self.seed, epoch)
            order = torch.randperm(self.count, generator=generator)
            self._epochs[epoch] = order, torch.rand(self.count, generator=generator) < 0.5
        return self._epochs[epoch]
