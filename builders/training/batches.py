"""Training batches: images or clips, times, noise, conditions, as a function of the recipe's seed and the step alone.

A resumed run therefore sees the same batches, with any number of processes and of data-loading workers. Each process
reads, decodes and noises its own rows alone.
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
from builders.pixels import to_float
from builders.text.encoder import TextEncoder
from builders.training.reading.noise import KINDS, BatchShape, conditions, own_rows
from builders.training.reading.rows import RowKinds, row_kinds
from builders.training.reading.sources import Streams
from builders.transfers import to_device
from specs.blocks.size import Size
from specs.graph import EntryGraph
from specs.schemas.recipe import DropSpec
from specs.schemas.times import UNIFORM, TimesSpec

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
        return self._map(lambda value: to_device(value, device) if isinstance(value, Tensor) else value)

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
    images = _levels(drawn, graph, rows)
    eps = [torch.randn(x.shape, generator=generator) for x in images]

    def dropped(condition: str) -> Tensor:
        if drop is None:
            return torch.zeros(len(t), dtype=torch.bool)
        return torch.rand(len(t), generator=generator) < getattr(drop, condition)

    found = {name: dropped(name) for name in conditions(graph)}
    return _batch(graph, drawn, images, t, eps, found)


def _levels(drawn: Mapping[str, Any], graph: EntryGraph, rows: Sequence[int] | None) -> list[Tensor]:
    """Return the clean images or clips of every level, from samples in [-1, 1], of its first rows."""
    images = pyramid(drawn["image"], graph, drawn.get("still"))
    return images if rows is None else [x[:count] for x, count in zip(images, rows, strict=True)]


def _batch(
    graph: EntryGraph,
    drawn: Mapping[str, Any],
    images: list[Tensor],
    t: Tensor,
    eps: list[Tensor],
    dropped: Mapping[str, Tensor],
) -> Batch:
    """Return a batch with the conditions that the entry reads, some of them dropped."""
    classes = without_text = None
    captions: tuple[str, ...] = ()
    if graph.classes is not None:
        classes = drawn["classes"].masked_fill(dropped["classes"], graph.classes)
    if graph.text is not None:
        without_text = dropped["text"]
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
        noise: Source of the random numbers: "rows" (one generator per row), "levels" (one per row and level), or
            "batch" (one for all rows, as in runs of earlier versions).
        spread: Distribution of the times.
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
    noise: str = "batch"
    spread: TimesSpec = UNIFORM

    @property
    def kinds(self) -> RowKinds:
        """Which rows are clips and which are images."""
        return row_kinds(self.graph, self.rows)

    @property
    def shape(self) -> BatchShape:
        """Rows of the batch, and which of them are this process's."""
        return BatchShape(self.graph, self.rows, self.part, self.spread)

    def draw(self, step: int, data: Any) -> Batch:
        """Return this process's part of the batch of a step, on the CPU.

        Args:
            step: Step of the phase, from 0.
            data: Data with ``at(places, flip=)``, such as :class:`builders.data.images.Images`; or two such streams,
                see :class:`builders.training.reading.sources.Streams`.
        """
        return self.assemble(step, self.read(step, data))

    def read(self, step: int, data: Any) -> dict[str, Any]:
        """Read and decode this process's samples of a step, and draw their random numbers.

        Returns:
            What :meth:`builders.data.images.Images.at` returns, of the samples at :meth:`places` of their streams, and
            ``t``, ``eps`` and ``dropped``, see :class:`builders.training.reading.noise.Draws`.
        """
        streams = data if isinstance(data, Streams) else Streams(data)
        (start, count), (behind, images) = self.places(step)
        first = own_rows(count, self.part)
        drawn: dict[str, Any] = streams.first.at(range(start, start + count)[first.start :: first.step], flip=self.flip)
        index, processes = self.part
        rest = range(behind, behind + images)[(index - count) % processes :: processes]
        if rest:
            assert streams.rest is not None
            drawn = _joined(drawn, streams.rest.at(rest, flip=self.flip))
        found = KINDS[self.noise](self.shape, self.times, self.drop, self.seed, self.name, step)
        return drawn | {"t": found.t, "eps": found.eps, "dropped": found.dropped}

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
        """Return this process's part of the batch of a step, from what :meth:`read` returned, on its device."""
        samples = {name: to_float(value) if name in PIXELS else value for name, value in drawn.items()}
        own = [len(self.shape.own(level)) for level in range(len(self.rows))]
        images = _levels(samples, self.graph, own)
        return _batch(self.graph, drawn, images, drawn["t"], drawn["eps"], drawn["dropped"])


def _joined(clips: Mapping[str, Any], images: Mapping[str, Any]) -> dict[str, Any]:
    """Return clips followed by images as samples of one batch; the images' pixels are under ``still``."""

    def both(name: str) -> Any:
        one, other = clips[name], images[name]
        return torch.cat([one, other]) if isinstance(one, Tensor) else [*one, *other]

    pixels = {"image": clips["image"], "still": images["image"]}
    return {name: both(name) for name in clips if name not in pixels} | pixels


#: Names of pixels among samples.
PIXELS = ("image", "still")


def _moved(value: Any, device: torch.device | None) -> Any:
    """Return a tensor, or all those in lists and mappings, on a device; anything else as it is."""
    if device is None:
        return value
    if isinstance(value, Tensor):
        return to_device(value, device)  # what workers read is pinned by a thread of the loader
    if isinstance(value, dict):
        return {name: _moved(each, device) for name, each in value.items()}
    return [_moved(each, device) for each in value] if isinstance(value, list) else value


class _Samples(Dataset):
    """Samples and random numbers by step."""

    def __init__(self, plan: BatchPlan, data: Any) -> None:
        self.plan, self.data = plan, data

    def __getitem__(self, step: int) -> tuple[int, dict[str, Any]] | DataError:
        try:
            return step, self.plan.read(step, self.data)
        except DataError as error:  # returned, because the loader would put a traceback into the message
            return error


def _identity(value: Any) -> Any:
    return value


def read_batches(
    plan: BatchPlan,
    data: Any,
    first: int,
    last: int | None,
    workers: int = 0,
    device: torch.device | None = None,
) -> Generator[Batch, None, None]:
    """Yield the batches of a phase in order, from step ``first`` to before ``last``.

    Args:
        plan: How batches are drawn.
        data: Data, see :meth:`BatchPlan.draw`.
        first: First step of the phase, from 0.
        last: Step after the last one; None for no end.
        workers: Number of data-loading processes, which also draw the noise, or 0 to load in this one. The batches are
            the same.
        device: Device of the batches, to which pixels travel as bytes. Default: the CPU.
    """
    steps = range(first, sys.maxsize if last is None else last)
    if workers == 0:
        yield from (plan.assemble(step, _moved(plan.read(step, data), device)) for step in steps)
        return
    loader: DataLoader[tuple[int, dict[str, Any]] | DataError] = DataLoader(
        _Samples(plan, data),
        batch_size=None,
        sampler=steps,
        num_workers=workers,
        collate_fn=_identity,
        pin_memory=device is not None and device.type == "cuda",
        worker_init_fn=follow_parent,
        # A generator of its own; otherwise the loader draws its base seed from the global one.
        generator=torch.Generator().manual_seed(0),
    )
    for found in loader:
        if isinstance(found, DataError):
            raise found
        step, drawn = found
        yield plan.assemble(step, _moved(drawn, device))
