"""Notes on levels with frames that are allowed, but that an author may not have meant."""

from __future__ import annotations

from collections.abc import Iterator

from specs.blocks import BLOCKS
from specs.graph import EntryGraph, LevelGraph, shapes

__all__ = ["frame_notes"]

#: Most nodes that a note names.
_NAMED = 3


def frame_notes(graph: EntryGraph) -> tuple[str, ...]:
    """Return notes on temporal blocks that see one frame, and on levels in which nothing mixes frames.

    Args:
        graph: Checked graph of the entry.
    """
    notes, mixes = [], False
    for level in reversed(graph.levels):
        seen = dict(_temporal(level))
        mixes = level.frames > 1 and (any(frames > 1 for frames in seen.values()) or (level.nests and mixes))
        alone = [name for name, frames in seen.items() if frames == 1]
        if alone:
            listed = ", ".join(alone[:_NAMED]) + (f" and {len(alone) - _NAMED} more" if len(alone) > _NAMED else "")
            notes.append(
                f"level {level.label}: temporal blocks at one frame act as a feed-forward at each place: {listed}"
            )
        if level.frames > 1 and not mixes:
            notes.append(f"level {level.label}: nothing mixes its frames, so each is generated as an image of its own")
    return tuple(reversed(notes))


def _temporal(level: LevelGraph) -> Iterator[tuple[str, int]]:
    """Yield the temporal blocks of a level, and the most frames that each reads or writes."""
    sizes = shapes(level)
    for node in level.nodes:
        if node.block != "nest" and BLOCKS[node.block].temporal:
            yield node.name, max(sizes[node.inputs[0]][1].frames, sizes[node.name][1].frames)
