"""Check how levels fit into each other: pixels, frames and channels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from specs.blocks.size import Size, frames_of
from specs.errors import Problems
from specs.schemas.entry import LevelSpec
from specs.syntax.yaml_tree import Mapping, locate

__all__ = ["check_nesting", "nest_message"]


def check_nesting(levels: Sequence[LevelSpec], trees: Sequence[Mapping], problems: Problems) -> None:
    """Check that each level has the channels of the one inside it, and multiples of its pixels and frames."""
    for outer, inner, tree in zip(levels, levels[1:], trees, strict=False):
        where = locate(tree, "nest", key=True)
        for message in _size_problems(outer.size, inner.size):
            problems.add("bad-nesting", message, where)
        if outer.channels != inner.channels:
            message = f"image channels differ: {outer.channels} outside, {inner.channels} inside"
            problems.add("bad-nesting", message, where)


def _size_problems(outer: Size, inner: Size) -> Iterator[str]:
    """Yield why a level of one size cannot nest a level of another."""
    if outer.side % inner.side or (inner.side == outer.side and inner.frames == outer.frames == 1):
        yield f"a level of {outer.side} pixels cannot nest one of {inner.side}: " + (
            "the inner resolution must be smaller and divide the outer one"
            if inner.frames == outer.frames
            else "the inner resolution must divide the outer one"
        )
    elif inner == outer:
        yield "the inner level has the pixels and the frames of the outer one; it must have fewer of one"
    if inner.frames > outer.frames:
        yield (
            f"a level of {frames_of(outer.frames)} cannot nest one of {inner.frames}: an inner level sees the first "
            "frame of each group of the outer one's, so it has at most as many; exchange the two"
        )
    elif outer.frames % inner.frames:
        yield (
            f"a level of {frames_of(outer.frames)} cannot nest one of {inner.frames}: the inner level sees the first "
            "frame of each group of the outer one's, so its frames must divide those of the outer one"
        )


def nest_message(nested: Size, given: Size) -> str:
    """Return the error of a nested level whose input has another size."""
    if nested.side == given.side:
        return f"the nested level has {frames_of(nested.frames)}, but its input has {given.frames}"
    if nested.frames == given.frames:
        return f"the nested level has {nested.side} pixels, but its input has {given.side} pixels"
    return f"the nested level has {nested}, but its input has {given}"
