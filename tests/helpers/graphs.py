"""Small entries made by hand, without the language."""

from __future__ import annotations

from typing import Any

from specs.graph import EntryGraph, LevelGraph, Node

__all__ = ["plain_entry", "plain_level"]


def plain_level(resolution: int, *nodes: Node, head: str = "stem", stem_width: int = 4, **changes: Any) -> LevelGraph:
    """A level of nothing but a stem and a head, or of ``nodes``."""
    changes = {"label": f"r{resolution}", "head_groups": 2} | changes
    return LevelGraph(resolution=resolution, stem_width=stem_width, nodes=nodes, head=head, **changes)


def plain_entry(*resolutions: int, **changes: Any) -> EntryGraph:
    """An entry with a process and levels at these resolutions, outermost first; enough for a process, no network."""
    changes = {"time_width": 16, "name": "plain"} | changes
    return EntryGraph(levels=tuple(plain_level(resolution) for resolution in resolutions), **changes)
