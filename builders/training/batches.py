"""What a step of training is given: images, times, noise and conditions, a function of the recipe's seed and the step.

Nothing else enters, so a run that goes on, with any number of processes and of workers that read ahead, sees the same.
"""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from builders.data.errors import DataError
from builders.diffusion.process import pyramid
from builders.pixels import to_bytes, to_float
from builders.seeds import derived_seed
from builders.text.encoder import TextEncoder
from specs.graph import EntryGraph
from specs.schemas.recipe import DropSpec

__all__ = ["Batch", "BatchPlan", "read_batches"]


@dataclass(frozen=True)
class Batch:
    """The batch of a step, or one process's part of it.

    Attributes:
        images: clean images of every level, outermost first, (rows, channels, height, width) in [-1, 1].
        t: time indices (rows of the innermost level,).
        eps: noise in the shapes of ``images``.
        classes: (rows,) class indices, the number of classes for "none"; None if the entry has none.
        captions: texts; empty if the entry reads none.
        without_text: (rows,) bool, the rows whose text is left out; None if the entry reads none.
        keys: of the samples.
        scale: (rows,) shorter sides of the originals in pixels; None if the entry has no such input.
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
        """The batch on another device."""

        def moved(value: Tensor | None) -> Tensor | None:
            return None if value is None else value.to(device, non_blocking=True)

        images, eps = [x.to(device, non_blocking=True) for x in self.images], [x.to(device) for x in self.eps]
        without = moved(self.without_text)
        return replace(
            self,
            images=images,
            t=self.t.to(device),
            eps=eps,
            classes=moved(self.classes),
            without_text=without,
            scale=moved(self.scale),
        )

    def part(self, index: int, count: int) -> Batch:
        """Every ``count``-th row from ``index``: the first rows of the inner level stay those of the outer ones."""
        rows = slice(index, None, count)
        return Batch(
            [x[rows] for x in self.images],
            self.t[rows],
            [x[rows] for x in self.eps],
            None if self.classes is None else self.classes[rows],
            self.captions[rows],
            None if self.without_text is None else self.without_text[rows],
            self.keys[rows],
            None if self.scale is None else self.scale[rows],
        )

    def conditions(self, encoder: TextEncoder | None) -> dict[str, Tensor]:
        """The arguments of the model that describe the images; text that is left out is zeros under an empty mask."""
        given: dict[str, Tensor] = {}
        if self.classes is not None:
            given["classes"] = self.classes
        if self.scale is not None:
            given["scale"] = self.scale
        if self.without_text is not None:
            assert encoder is not None
            states, mask = encoder(self.captions)
            kept = ~self.without_text
            given["text"] = states.to(kept.device) * kept[:, None, None]
            given["text_mask"] = mask.to(kept.device) & kept[:, None]
        return given

    def tensors(self) -> dict[str, Tensor]:
        """All of it by name, for a file."""
        levels = list(zip(self.images, self.eps, strict=True))
        named = {f"image/{x.shape[-1]}": x for x, _ in levels} | {f"noise/{x.shape[-1]}": eps for x, eps in levels}
        named["t"] = self.t
        if self.classes is not None:
            named["classes"] = self.classes
        if self.without_text is not None:
            named["without_text"] = self.without_text
        return named


@dataclass(frozen=True)
class BatchPlan:
    """How the batches of a phase are drawn.

    Attributes:
        graph: the part of the entry that is trained.
        name: of the phase.
        seed: of the recipe.
        rows: of every level, outermost first.
        times: number of time indices.
        first_sample: samples drawn by the phases before.
        drop: how often conditions are left out.
        flip: mirror half of the images.
        part: this process's number, and how many there are.
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
        """This process's part of the batch of a step, on the CPU.

        Args:
            step: of the phase, from 0.
            data: with ``batch(start, size, flip=)``, such as :class:`builders.data.images.Images`.
        """
        return self.assemble(step, self.read(step, data))

    def read(self, step: int, data: Any) -> dict[str, Any]:
        """What the data gives for a step; all that reads and decodes."""
        rows = self.rows[-1]
        return data.batch(self.first_sample + step * rows, rows, flip=self.flip)

    def assemble(self, step: int, drawn: Mapping[str, Any]) -> Batch:
        """This process's part of the batch of a step from what :meth:`read` gave: levels, times, noise, conditions."""
        rows = self.rows[-1]
        generator = torch.Generator().manual_seed(derived_seed(self.seed, "noise", self.name, step))
        images = [x[:count] for x, count in zip(pyramid(drawn["image"], self.graph), self.rows, strict=True)]
        t = torch.randint(0, self.times, (rows,), generator=generator)
        eps = [torch.randn(x.shape, generator=generator) for x in images]
        classes = without_text = None
        captions: tuple[str, ...] = ()
        if self.graph.classes is not None:
            dropped = torch.rand(rows, generator=generator) < self.drop.classes
            classes = drawn["classes"].masked_fill(dropped, self.graph.classes)
        if self.graph.text is not None:
            without_text = torch.rand(rows, generator=generator) < self.drop.text
            captions = tuple(drawn["caption"])
        scaled = any(micro.name == "scale" for level in self.graph.levels for micro in level.micro)
        scale = drawn["scale"] if scaled else None
        whole = Batch(images, t, eps, classes, captions, without_text, tuple(drawn["key"]), scale)
        return whole if self.part == (0, 1) else whole.part(*self.part)


class _Reading(Dataset):
    """What the data gives by step, with images as bytes: a quarter of what goes from a worker to the training."""

    def __init__(self, plan: BatchPlan, data: Any) -> None:
        self.plan, self.data = plan, data

    def __getitem__(self, step: int) -> tuple[int, dict[str, Any]] | DataError:
        try:
            drawn = self.plan.read(step, self.data)
        except DataError as error:  # handed over as it is: the loader would put a traceback into its message
            return error
        return step, drawn | {"image": to_bytes(drawn["image"])}


class _From:
    """Steps from one to the last, or without end."""

    def __init__(self, first: int, last: int | None) -> None:
        self.first, self.last = first, last

    def __iter__(self) -> Iterator[int]:
        return iter(itertools.count(self.first) if self.last is None else range(self.first, self.last))


def _as_it_is(found: Any) -> Any:
    return found


def read_batches(
    plan: BatchPlan, data: Any, first: int, last: int | None, workers: int = 0
) -> Generator[Batch, None, None]:
    """The batches of steps ``first`` to ``last`` (None for no end) of a phase, in order.

    Args:
        plan: how they are drawn.
        data: see :meth:`BatchPlan.draw`.
        first: step of the phase, from 0.
        last: the step after the last one.
        workers: processes that read ahead; 0 for none. The batches are the same.
    """
    if workers == 0:
        yield from (plan.draw(step, data) for step in _From(first, last))
        return
    loader: DataLoader[tuple[int, dict[str, Any]] | DataError] = DataLoader(
        _Reading(plan, data),
        batch_size=None,
        sampler=_From(first, last),
        num_workers=workers,
        collate_fn=_as_it_is,
        # Its own generator: the base seed is drawn from the global one otherwise.
        generator=torch.Generator().manual_seed(0),
    )
    for found in loader:
        if isinstance(found, DataError):
            raise found
        step, drawn = found
        yield plan.assemble(step, drawn | {"image": to_float(drawn["image"])})
