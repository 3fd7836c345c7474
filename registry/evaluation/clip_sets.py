"""Sets of clips that are measured, or that samples are compared with. They are read batch by batch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from specs.blocks.size import Size

if TYPE_CHECKING:
    from torch import Tensor

    from builders.data.images import Images

__all__ = ["MOST", "ClipSet", "clip_facts", "clip_set", "open_clips", "selected"]

#: Clips of a reference set that are compared with, at most; of a larger one, the first of its shuffled stream.
MOST = 1000
#: Values of clips that are read at once. Bounds memory.
VALUES = 2**24


@dataclass(frozen=True, eq=False)
class ClipSet:
    """A named set of clips.

    Attributes:
        name: Name of the dataset or entry.
        split: Split of the dataset; empty for other clips.
        size: Side in pixels and number of frames.
        count: Number of clips.
        read: Function that reads all clips in batches: (clips, 3, frames, height, width) uint8, the class index of each
            (the number of classes if it is unknown), and their captions.
        rate: Frames a second, if known.
        licence: Licence of the dataset.
        class_counts: Number of clips of each class in the whole split; None without classes.
        classes: Names of the classes.
        resizing: "area" if frames were made smaller by a factor that is no whole number, otherwise empty.
    """

    name: str
    split: str
    size: Size
    count: int
    read: Callable[[], Iterator[tuple[Tensor, Sequence[int], Sequence[str]]]]
    rate: float | None = None
    licence: str = ""
    class_counts: tuple[int, ...] | None = None
    classes: tuple[str, ...] = ()
    resizing: str = ""

    def batches(self) -> Iterator[Tensor]:
        """Return the clips in order, in batches (clips, 3, frames, height, width) uint8."""
        for clips, _, _ in self.read():
            yield clips

    @cached_property
    def _facts(self) -> tuple[str, tuple[str, ...], tuple[int, ...]]:
        """Hash of the pixels, captions and class indices, in one pass over the clips."""
        side, frames = self.size.side, self.size.frames
        digest = hashlib.sha256(repr((self.count, 3, frames, side, side)).encode())
        captions: list[str] = []
        indices: list[int] = []
        for clips, labels, texts in self.read():
            digest.update(clips.contiguous().numpy().tobytes())
            captions += texts
            indices += labels
        return digest.hexdigest(), tuple(captions), tuple(indices)

    @property
    def sha256(self) -> str:
        """Hash of the pixels, in order, and of their shape."""
        return self._facts[0]

    @property
    def captions(self) -> tuple[str, ...]:
        """Captions of the clips."""
        return self._facts[1]

    @property
    def names(self) -> tuple[str, ...]:
        """Name of the class of each clip; empty if it is unknown."""
        known = (*self.classes, "")
        return tuple(known[index] if 0 <= index < len(known) else "" for index in self._facts[2])


def clip_set(name: str, clips: Tensor, **facts: Any) -> ClipSet:
    """Return clips that are in memory as a set.

    Args:
        name: Name of the set.
        clips: Clips (N, 3, frames, height, width) uint8.
        **facts: Further fields of a :class:`ClipSet`; ``labels``, the class index of each clip.
    """
    labels = facts.pop("labels", None) or (-1,) * len(clips)
    at_once = max(1, VALUES // max(1, clips[:1].numel()))

    def read() -> Iterator[tuple[Tensor, Sequence[int], Sequence[str]]]:
        for start in range(0, len(clips), at_once):
            part = clips[start : start + at_once]
            yield part, labels[start : start + at_once], ("",) * len(part)

    return ClipSet(name, "", Size(clips.shape[-1], clips.shape[2]), len(clips), read, **facts)


def open_clips(
    name_or_path: str | Mapping[str, float],
    size: Size,
    split: str = "train",
    *,
    fetch: bool = True,
    most: int | None = None,
) -> ClipSet:
    """Open the clips of a dataset or a shard.

    Args:
        name_or_path: Name of a packaged dataset, a path, or several of them with weights.
        size: Side in pixels and number of frames: the first of each group of those stored.
        split: Split of a dataset: ``train``, ``val`` or ``all``.
        fetch: Whether shards at addresses may be downloaded.
        most: Largest number of clips. Default: :data:`MOST`.

    Raises:
        DataError: There are no such clips, or they cannot be read.
    """
    from builders.data.open import open_dataset

    limit = MOST if most is None else most
    dataset = open_dataset(name_or_path, fetch=fetch)
    data = dataset.load(size.side, split, frames=size.frames)
    known = len(dataset.classes)
    counts = tuple(data.classes.bincount(minlength=known)[:known].tolist()) if known else None
    rate = data.card.rate and data.card.rate * size.frames / data.card.frames

    def read() -> Iterator[tuple[Tensor, Sequence[int], Sequence[str]]]:
        from builders.pixels import to_bytes

        for batch in selected(data, limit):
            yield to_bytes(batch["image"]), batch["classes"].tolist(), batch["caption"]

    facts = (rate, dataset.card.licence, counts, dataset.classes, "area" * data.fractional)
    return ClipSet(dataset.card.name, split, size, min(limit, len(data)), read, *facts)


def clip_facts(what: str) -> tuple[int, int | None]:
    """Return the frames of the samples of a shard or folder (1 for images), and their side in pixels, if it is one."""
    from builders.data.open import open_dataset
    from builders.data.recognition.folder_kind import folder_kind

    path = Path(what)
    if path.is_dir() and folder_kind(path) == "images":
        return 1, None
    card = open_dataset(what).card
    return card.frames, card.resolution


def selected(data: Images, most: int) -> Iterator[dict[str, Any]]:
    """Yield the batches of a split, in order; of one with more samples than ``most``, the first of its stream."""
    at_once = 32
    if len(data) <= most:
        yield from data.in_order(at_once)
        return
    for start in range(0, most, at_once):
        yield data.batch(start, min(at_once, most - start))
