"""Training batches: images, times, noise and conditions, as a function of the recipe's seed and the step alone.

A resumed run therefore sees the same batches, with any number of processes and of data-loading workers.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from builders.child_processes import follow_parent
from builders.data.errors import DataError
from builders.diffusion.process import pyramid
from builders.pixels import to_bytes, to_float
from builders.seeds import hashed_generator
from builders.text.encoder import TextEncoder
from specs.graph import EntryGraph
from specs.schemas.recipe import DropSpec

__all__ = ["Batch", "BatchPlan", "make_batch", "read_batches"]


@dataclass(frozen=True)
class Batch:
    """The batch of a step, or one process's part of it.

    Attributes:
        images: Clean images of every level, outermost first, (rows, channels, height, width) in [-1, 1].
        t: Time indices, (rows of the innermost level,).
        eps: Noise in the shapes of ``images``.
        classes: Class indices, (rows,); the number of classes stands for "no class". None if the entry has no classes.
        captions: Captions; empty if the entry reads no text.
        without_text: Rows whose text is dropped, (rows,) bool. None if the entry reads no text.
        keys: Keys of the samples.
        scale: Shorter side of each original image in pixels, (rows,). None if the entry has no such input.
    """

    images: list[Tensor]
    t: Tensor
    eps: list[Tensor]
    classes: Tensor | None
    captions: tuple[str, ...]
    without_text: Tensor | None
    keys: tuple[str, ...]
    scale: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """Return the batch on another device."""
        return self._map(lambda value: value.to(device, non_blocking=True) if isinstance(value, Tensor) else value)

    def part(self, index: int, count: int) -> Batch:
        """Return every ``count``-th row from ``index``; rows that levels share stay together."""
        return self._map(lambda value: None if value is None else value[index::count])

    def _map(self, change: Callable[[Any], Any]) -> Batch:
        """Return the batch with every field changed, or every level of it."""

        def changed(value: Any) -> Any:
            return [change(each) for each in value] if isinstance(value, list) else change(value)

        return Batch(**{field.name: changed(getattr(self, field.name)) for field in fields(self)})

    def conditions(self, encoder: TextEncoder | None) -> dict[str, Tensor]:
        """Return the conditions as arguments of the model. Dropped text is zeros with an empty mask.

        Args:
            encoder: Text encoder, if the entry reads text.
        """
        found: dict[str, Tensor] = {}
        if self.classes is not None:
            found["classes"] = self.classes
        if self.scale is not None:
            found["scale"] = self.scale
        if self.without_text is not None:
            assert encoder is not None
            states, mask = encoder(self.captions)
            with_text = ~self.without_text
            found["text"] = states.to(with_text.device) * with_text[:, None, None]
            found["text_mask"] = mask.to(with_text.device) & with_text[:, None]
        return found

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors by name, for a file."""
        levels = list(zip(self.images, self.eps, strict=True))
        named = {f"image/{x.shape[-1]}": x for x, _ in levels} | {f"noise/{x.shape[-1]}": eps for x, eps in levels}
        others = {"t": self.t, "classes": self.classes, "without_text": self.without_text}
        return named | {name: value for name, value in others.items() if value is not None}


def make_batch(
    graph: EntryGraph,
    drawn: Mapping[str, Any],
    t: Tensor,
    generator: torch.Generator,
    rows: Sequence[int] | None = None,
    drop: DropSpec | None = None,
) -> Batch:
    """Make a batch of samples: a pyramid of images, noise, and the conditions that the entry reads.

    Args:
        graph: Entry that is trained.
        drawn: Samples, as :meth:`builders.data.images.Images.batch` returns them. The first ``len(t)`` are used.
        t: Time indices, (samples,).
        generator: Source of the noise, then of the dropped conditions.
        rows: Rows per level, outermost first. Default: all samples at every level.
        drop: Probabilities of dropping the conditions. Default: nothing is dropped.
    """
    drawn = {name: value[: len(t)] for name, value in drawn.items()}
    images = pyramid(drawn["image"], graph)
    if rows is not None:
        images = [x[:count] for x, count in zip(images, rows, strict=True)]
    eps = [torch.randn(x.shape, generator=generator) for x in images]

    def dropped(condition: str) -> Tensor:
        if drop is None:
            return torch.zeros(len(t), dtype=torch.bool)
        return torch.rand(len(t), generator=generator) < getattr(drop, condition)

    classes = without_text = None
    captions: tuple[str, ...] = ()
    if graph.classes is not None:
        classes = drawn["classes"].masked_fill(dropped("classes"), graph.classes)
    if graph.text is not None:
        without_text = dropped("text")
        captions = tuple(drawn["caption"])
    scaled = any(micro.name == "scale" for level in graph.levels for micro in level.micro)
    scale = drawn["scale"] if scaled else None
    return Batch(images, t, eps, classes, captions, without_text, tuple(drawn["key"]), scale)


@dataclass(frozen=True)
class BatchPlan:
    """How the batches of a phase are drawn.

    Attributes:
        graph: Part of the entry that is trained.
        name: Name of the phase.
        seed: Seed of the recipe.
        rows: Rows per level, outermost first.
        times: Number of time indices.
        first_sample: Number of samples drawn by earlier phases.
        drop: Probabilities of dropping the conditions.
        flip: Whether half of the images are mirrored.
        part: Index of this process, and number of processes.
    """

    graph: EntryGraph
    name: str
    seed: int
    rows: tuple[int, ...]
    times: int
    first_sample: int
    drop: DropSpec
    flip: bool = False
    part: tuple[int, int] = (0, 1)

    def draw(self, step: int, data: Any) -> Batch:
        """Return this process's part of the batch of a step, on the CPU.

        Args:
            step: Step of the phase, from 0.
            data: Data with ``batch(start, size, flip=)``, such as :class:`builders.data.images.Images`.
        """
        return self.assemble(step, self.read(step, data))

    def read(self, step: int, data: Any) -> dict[str, Any]:
        """Read and decode the samples of a step."""
        rows = self.rows[-1]
        return data.batch(self.first_sample + step * rows, rows, flip=self.flip)

    def assemble(self, step: int, drawn: Mapping[str, Any]) -> Batch:
        """Return this process's part of the batch of a step, from the samples that :meth:`read` returned."""
        generator = hashed_generator(self.seed, "noise", self.name, step)
        t = torch.randint(0, self.times, (self.rows[-1],), generator=generator)
        whole = make_batch(self.graph, drawn, t, generator, self.rows, self.drop)
        return whole if self.part == (0, 1) else whole.part(*self.part)


class _Samples(Dataset):
    """Samples by step. Images are bytes, a quarter of the size, on their way from a worker to the trainer."""

    def __init__(self, plan: BatchPlan, data: Any) -> None:
        self.plan, self.data = plan, data

    def __getitem__(self, step: int) -> tuple[int, dict[str, Any]] | DataError:
        try:
            drawn = self.plan.read(step, self.data)
        except DataError as error:  # returned, because the loader would put a traceback into the message
            return error
        return step, drawn | {"image": to_bytes(drawn["image"])}


def _identity(value: Any) -> Any:
    return value


def read_batches(
    plan: BatchPlan, data: Any, first: int, last: int | None, workers: int = 0
) -> Generator[Batch, None, None]:
    """Yield the batches of a phase in order, from step ``first`` to before ``last``.

    Args:
        plan: How batches are drawn.
        data: Data, see :meth:`BatchPlan.draw`.
        first: First step of the phase, from 0.
        last: Step after the last one; None for no end.
        workers: Number of data-loading processes, or 0 to load in this one. The batches are the same.
    """
    steps = range(first, sys.maxsize if last is None else last)
    if workers == 0:
        yield from (plan.draw(step, data) for step in steps)
        return
    loader: DataLoader[tuple[int, dict[str, Any]] | DataError] = DataLoader(
        _Samples(plan, data),
        batch_size=None,
        sampler=steps,
        num_workers=workers,
        collate_fn=_identity,
        worker_init_fn=follow_parent,
        # A generator of its own; otherwise the loader draws its base seed from the global one.
        generator=torch.Generator().manual_seed(0),
    )
    for found in loader:
        if isinstance(found, DataError):
            raise found
        step, drawn = found
        yield plan.assemble(step, drawn | {"image": to_float(drawn["image"])})
