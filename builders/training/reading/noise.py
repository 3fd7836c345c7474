"""Random numbers of the rows of a batch: times, dropped conditions and noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from builders.diffusion.offset_noise import add_offset
from builders.diffusion.process import DiffusionProcess
from builders.diffusion.shared_noise import share_noise
from builders.diffusion.times import time_indices_of
from builders.seeds import derived_seed, hashed_generator
from specs.graph import EntryGraph
from specs.schemas.recipe import DropSpec
from specs.schemas.times import UNIFORM, TimesSpec

__all__ = [
    "KINDS", "BatchShape", "Draws", "conditions", "draw_by_batch", "draw_by_level", "draw_by_row", "own_rows",
    "times_of",
]  # fmt: skip


@dataclass(frozen=True)
class BatchShape:
    """Rows of a batch.

    Attributes:
        graph: Part of the entry that is trained.
        rows: Rows per level, outermost first; no level has more than the level inside it.
        part: Index of this process, and number of processes.
        spread: Distribution of the times.
    """

    graph: EntryGraph
    rows: tuple[int, ...]
    part: tuple[int, int] = (0, 1)
    spread: TimesSpec = UNIFORM

    def own(self, level: int = -1) -> range:
        """Return this process's rows of a level: every ``count``-th one, as in a :meth:`Batch.part` of the batch."""
        return own_rows(self.rows[level], self.part)

    def sides(self, level: int) -> tuple[int, ...]:
        """Return the shape of a row of a level: (channels, height, width), or (channels, frames, height, width)."""
        found = self.graph.levels[level]
        frames = (found.frames,) if found.frames > 1 else ()
        return (found.channels, *frames, found.resolution, found.resolution)


@dataclass(frozen=True)
class Draws:
    """Random numbers of this process's rows.

    Attributes:
        t: Time indices, (rows,) int64.
        eps: Noise of every level, outermost first, (rows, channels, height, width) float32, or (rows, channels, frames,
            height, width) for levels of clips.
        dropped: Whether classes and text are dropped, (rows,) bool each; without conditions that the entry lacks.
    """

    t: Tensor
    eps: list[Tensor]
    dropped: dict[str, Tensor]


def own_rows(count: int, part: tuple[int, int]) -> range:
    """Return which of ``count`` rows belong to a process.

    Args:
        count: Rows of the batch.
        part: Index of the process, and number of processes.
    """
    return range(part[0], count, part[1])


def times_of(u: Tensor, times: int) -> Tensor:
    """Return the time index of each number.

    Args:
        u: Numbers in [0, 1), (rows,) float64.
        times: Number of time indices.
    """
    return (u * times).long()


def _times(shape: BatchShape, u: Tensor, times: int, rows: Sequence[int], key: tuple[object, ...]) -> Tensor:
    """Return the time index of each row in the distribution of the recipe; arguments as in :func:`draw_by_row`."""
    if shape.spread.distribution == "uniform":
        return times_of(u, times)
    start = derived_seed("times", *key) / 2**63
    return time_indices_of(u, shape.spread, _outer_schedule(shape.graph), rows, start)


@cache
def _outer_schedule(graph: EntryGraph) -> Tensor:
    """Return the noise schedule of the outermost level."""
    return DiffusionProcess(graph).schedules[0]


def draw_by_row(shape: BatchShape, times: int, drop: DropSpec, *key: object) -> Draws:
    """Draw the numbers of this process's rows. Those of a row depend on the key and the row alone.

    So they do not depend on the number of processes, nor on which levels are around a level: the noise of the innermost
    level is drawn first. The numbers are drawn on the CPU also for a GPU, whose generator gives others, so that a run
    may move between machines. Below 256 pixels this takes less than a millisecond per row, and workers do it.

    Args:
        shape: Rows of the batch.
        times: Number of time indices.
        drop: Probabilities of dropping the conditions.
        key: Seed, phase and step.
    """
    return _draw_each(shape, times, drop, key, by_level=False)


def draw_by_level(shape: BatchShape, times: int, drop: DropSpec, *key: object) -> Draws:
    """Draw the numbers of this process's rows. The noise of a row depends on the key, the row and the level alone.

    So it is the same in all entries that have the level, nested or not, and times and dropped conditions are too. The
    latter are those of :func:`draw_by_row`.

    Args:
        shape: Rows of the batch.
        times: Number of time indices.
        drop: Probabilities of dropping the conditions.
        key: Seed, phase and step.
    """
    return _draw_each(shape, times, drop, key, by_level=True)


def _draw_each(shape: BatchShape, times: int, drop: DropSpec, key: tuple[object, ...], *, by_level: bool) -> Draws:
    """Draw the numbers of each row from a generator of its own, and with ``by_level`` the noise of each level too."""
    own = shape.own()
    numbers = torch.empty(len(own), 3, dtype=torch.float64)
    eps = [torch.empty(len(shape.own(level)), *shape.sides(level)) for level in range(len(shape.rows))]
    innermost_first = list(zip(shape.graph.labels, eps, strict=True))[::-1]
    generator, offset = torch.Generator(), shape.graph.process.offset
    for index, row in enumerate(own):
        generator.manual_seed(derived_seed("row", *key, row))
        numbers[index].uniform_(generator=generator)
        for label, noise in innermost_first:
            if index < len(noise):
                if by_level:
                    generator.manual_seed(derived_seed("row of a level", *key, row, label))
                noise[index].normal_(generator=generator)
                if offset:
                    noise[index] = add_offset(noise[index], offset, generator)
    return _draws(shape, times, drop, numbers, eps, own, key)


def _draws(
    shape: BatchShape,
    times: int,
    drop: DropSpec,
    numbers: Tensor,
    eps: list[Tensor],
    own: range,
    key: tuple[object, ...],
) -> Draws:
    """Return draws from three numbers of each row, for its time and its conditions, and from independent noise."""
    t, *chances = numbers.unbind(1)
    found = {name: chance < getattr(drop, name) for name, chance in zip(("classes", "text"), chances, strict=True)}
    eps = share_noise(eps, shape.graph)
    return Draws(_times(shape, t, times, own, key), eps, {name: found[name] for name in conditions(shape.graph)})


def draw_by_batch(shape: BatchShape, times: int, drop: DropSpec, *key: object) -> Draws:
    """Draw the numbers of a whole batch from one generator, as earlier versions did; return this process's part.

    Args:
        shape: Rows of the batch.
        times: Number of time indices.
        drop: Probabilities of dropping the conditions.
        key: Seed, phase and step.
    """
    seed, *others = key
    generator = hashed_generator(seed, "noise", *others)
    total, (index, count) = shape.rows[-1], shape.part
    t = torch.randint(0, times, (total,), generator=generator)
    t = _times(shape, (t + 0.5).double() / times, times, range(total), key)
    levels = enumerate(shape.rows)
    eps = [
        torch.randn(rows, *shape.sides(level), generator=generator)[index::count].contiguous() for level, rows in levels
    ]
    # Earlier versions had no offsets, so these may be drawn by row.
    offset = shape.graph.process.offset
    eps = [torch.stack([add_offset(row, offset, generator) for row in noise]) if offset else noise for noise in eps]
    found = {}
    for name in conditions(shape.graph):
        chances = torch.rand(total, generator=generator)
        found[name] = (chances < getattr(drop, name))[index::count]
    return Draws(t[index::count], share_noise(eps, shape.graph), found)


def conditions(graph: EntryGraph) -> tuple[str, ...]:
    """Return which of "classes" and "text" an entry reads, in the order in which they are dropped."""
    read = {"classes": graph.classes is not None, "text": graph.text is not None}
    return tuple(name for name, there in read.items() if there)


#: How random numbers are drawn, by the name that the state of a run has for it.
KINDS: dict[str, Callable[..., Draws]] = {
    "rows": draw_by_row, "batch": draw_by_batch, "levels": draw_by_level,
}  # fmt: skip
