"""Which rows of a batch are clips, and which are images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from specs.blocks.size import Size
from specs.graph import EntryGraph

__all__ = ["RowKinds", "row_kinds"]


@dataclass(frozen=True)
class RowKinds:
    """Numbers and sizes of the clips and images of a batch. The clips are its first rows.

    Attributes:
        clips: Number of clips: the rows of the video level that has the most.
        images: Number of images: the rows that only image levels have.
        clip_size: Side and frames of the clips, those of the outermost level; None if there are no clips.
        image_side: Side of the images in pixels, that of the outermost image level; None if there are no images.
    """

    clips: int
    images: int
    clip_size: Size | None
    image_side: int | None

    @property
    def total(self) -> int:
        """Rows of the innermost level."""
        return self.clips + self.images


def row_kinds(graph: EntryGraph, rows: Sequence[int]) -> RowKinds:
    """Return which rows of a batch are clips and which are images.

    Args:
        graph: Part of the entry that is trained.
        rows: Rows per level, outermost first; no level has more than the level inside it.
    """
    clips = max((count for level, count in zip(graph.levels, rows, strict=True) if level.frames > 1), default=0)
    images = rows[-1] - clips
    side = next((level.resolution for level in graph.levels if level.frames == 1), None)
    return RowKinds(clips, images, graph.size if clips else None, side if images else None)
