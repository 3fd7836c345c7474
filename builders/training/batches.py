"""Training batches: images or clips, times, noise, conditions, as a function of the recipe's seed and the step alone.

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
from builders.training.reading.rows import RowKinds, row_kinds
from builders.training.reading.sources import Streams
from specs.blocks.size import Size
from specs.graph import EntryGraph
from specs.schemas.recipe import DropSpec

__all__ = ["Batch", "BatchPlan", "joined", "make_batch", "read_batches"]


@dataclass(frozen=True)
class Batch:
    """The batch of a step, or one process's part of it.

    Attributes:
        images: Clean images of every level, outermost first, (rows, channels, height, width) in [-1, 1], or clips
            (rows, channels, frames, height, width). The first rows of a level are those of the level around it.
        t: Time indices, (rows of the innermost level,).
        eps: Noise in the shapes of ``images``.
        classes: Class indices, (rows,); the number of classes stands for "no class". None if the entry has no classes.
        captions: Captions; empty if the entry reads no text.
        without_text: Rows whose text is dropped, (rows,) bool. None if the entry reads no text.
        keys: Keys of the samples.
        scale: Shorter side of each original in pixels, (rows,). None if the entry has no such input.
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
        """Return the tensors by name, for a file: ``image/r64f16``, ``noise/r64f16`` and so on, and ``t``."""
        levels = [(_label(x), x, eps) for x, eps in zip(self.images, self.eps, strict=True)]
        named = {f"image/{label}": x for label, x, _ in levels} | {f"noise/{label}": eps for label, _, eps in levels}
        others = {"t": self.t, "classes": self.classes, "without_text": self.without_text}
        return named | {name: value for name, value in others.items() if value is not None}


def joined(parts: Sequence[Tensor]) -> Tensor:
    """Return rows in their order in a batch, from those of all its parts; see :meth:`Batch.part`."""
    whole = parts[0].new_empty(sum(map(len, parts)), *parts[0].shape[1:])
    for index, part in enumerate(parts):
        whole[index :: len(parts)] = part
    return whole


def _label(x: Tensor) -> str:
    """Return the label of the level whose images or clips these are."""
    return Size(x.shape[-1], x.shape[2] if x.dim() == 5 else 1).label


def make_batch(
    graph: EntryGraph,
    drawn: Mapping[str, Any],
    t: Tensor,
    generator: torch.Generator,
    rows: Sequence[int] | None = None,
    drop: DropSpec | None = None,
) -> Batch:
    """Make a batch of samples: a pyramid of images or clips, noise, and the conditions that the entry reads.

    Args:
        graph: Entry that is trained.
        drawn: Samples, as :meth:`builders.data.images.Images.batch` returns them. The first ``len(t)`` are used. Beside
            clips, ``still`` (images, 3, height, width) may hold images for the rows behind them, which only image
            levels have; the other values are then those of the clips followed by those of the images.
        t: Time indices, (samples,).
        generator: Source of the noise, then of the dropped conditions.
        rows: Rows per level, outermost first. Default: all samples at every level.
        drop: Probabilities of dropping the conditions. Default: nothing is dropped.
    """
    drawn = {name: value[: len(t)] for name, value in drawn.items()}
    images = pyramid(drawn["image"], graph, drawn.get("still"))
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
        first_sample: Number of samples of ``data`` drawn by earlier phases.
        drop: Probabilities of dropping the conditions.
        flip: Whether half of the images and clips are mirrored.
        part: Index of this process, and number of processes.
        first_image: Number of samples of ``images`` drawn by earlier phases; None if images are first frames of clips
            of ``data``.
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
    first_image: int | None = None

    @property
    def kinds(self) -> RowKinds:
        """Which rows are clips and which are images."""
        return row_kinds(self.graph, self.rows)

    def draw(self, step: int, data: Any) -> Batch:
        """Return this process's part of the batch of a step, on the CPU.

        Args:
            step: Step of the phase, from 0.
            data: Data with ``batch(start, size, flip=)``, such as :class:`builders.data.images.Images`; or two such
                streams, see :class:`builders.training.reading.sources.Streams`.
        """
        return self.assemble(step, self.read(step, data))

    def read(self, step: int, data: Any) -> dict[str, Any]:
        """Read and decode the samples of a step, which are those at :meth:`places` of their streams."""
        streams = data if isinstance(data, Streams) else Streams(data)
        (start, count), (behind, images) = self.places(step)
        drawn: dict[str, Any] = streams.first.batch(start, count, flip=self.flip)
        if not images:
            return drawn
        assert streams.rest is not None
        return _joined(drawn, streams.rest.batch(behind, images, flip=self.flip))

    def places(self, step: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return place and number of a step's first rows in their stream, and those of the images behind them.

        Without ``images``, all rows are samples of one stream: the images are the first frames of the clips that follow
        in it. With ``images``, clips and images are counted each for itself.
        """
        kinds = self.kinds
        if self.first_image is None:
            start, first = self.first_sample + step * kinds.total, kinds.clips or kinds.images
            return (start, first), (start + first, kinds.total - first)
        images = (self.first_image + step * kinds.images, kinds.images)
        return ((self.first_sample + step * kinds.clips, kinds.clips), images) if kinds.clips else (images, (0, 0))

    def assemble(self, step: int, drawn: Mapping[str, Any]) -> Batch:
        """Return this process's part of the batch of a step, from the samples that :meth:`read` returned."""
        generator = hashed_generator(self.seed, "noise", self.name, step)
        t = torch.randint(0, self.times, (self.rows[-1],), generator=generator)
        whole = make_batch(self.graph, drawn, t, generator, self.rows, self.drop)
        return whole if self.part == (0, 1) else whole.part(*self.part)


def _joined(clips: Mapping[str, Any], images: Mapping[str, Any]) -> dict[str, Any]:
    """Return clips followed by images as samples of one batch; the images' pixels are under ``still``."""

    def both(name: str) -> Any:
        one, other = clips[name], images[name]
        return torch.cat([one, other]) if isinstance(one, Tensor) else [*one, *other]

    pixels = {"image": clips["image"], "still": images["image"]}
    return {name: both(name) for name in clips if name not in pixels} | pixels


def _pixels_by(change: Callable[[Tensor], Tensor], drawn: Mapping[str, Any]) -> dict[str, Any]:
    """Return samples with their pixels changed."""
    return {name: change(value) if name in ("image", "still") else value for name, value in drawn.items()}


class _Samples(Dataset):
    """Samples by step. Pixels are bytes, a quarter of the size, on their way from a worker to the trainer."""

    def __init__(self, plan: BatchPlan, data: Any) -> None:
        self.plan, self.data = plan, data

    def __getitem__(self, step: int) -> tuple[int, dict[str, Any]] | DataError:
        try:
            drawn = self.plan.read(step, self.data)
        except DataError as error:  # returned, because the loader would put a traceback into the message
            return error
        return step, _pixels_by(to_bytes, drawn)


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
        yield plan.assemble(step, _pixels_by(to_float, drawn))
