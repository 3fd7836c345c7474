"""The levels of an entry that are measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from registry.evaluation.features import EvaluationError
from specs.errors import did_you_mean

if TYPE_CHECKING:
    from specs.blocks.size import Size
    from specs.graph import EntryGraph

__all__ = ["check_resolution", "level_sizes"]


def level_sizes(graph: EntryGraph, labels: Sequence[str] = ()) -> dict[str, Size]:
    """Return the sizes of levels by label, outermost first.

    Args:
        graph: Graph of the entry.
        labels: Labels of the levels. Default: that of the outermost.

    Raises:
        EvaluationError: There is no such level.
    """
    for label in labels:
        if label not in graph.labels:
            hint = did_you_mean(label, graph.labels) or f"; it has {', '.join(graph.labels)}"
            raise EvaluationError(f"{graph.name} has no level {label!r}{hint}")
    wanted = labels or graph.labels[:1]
    return {level.label: level.size for level in graph.levels if level.label in wanted}


def check_resolution(what: str, graph: EntryGraph, resolution: int | None) -> None:
    """Check that samples are not to be resized: only images of a folder are.

    Args:
        what: Entry or checkpoint that draws the samples.
        graph: Graph of the entry.
        resolution: Side in pixels that was asked for; None for that of the samples.

    Raises:
        EvaluationError: It is another one than that of the samples.
    """
    if resolution not in (None, graph.resolution):
        raise EvaluationError(f"{what} draws at {graph.resolution} pixels; --resolution is for folders of images")
