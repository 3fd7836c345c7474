"""Small entries made by hand, without the language."""

from __future__ import annotations

from typing import Any

from specs.graph import EntryGraph, LevelGraph, MicroInput, Node, TextInput

__all__ = ["clip_entry", "node", "plain_entry", "plain_level", "rich_entry"]


def plain_level(resolution: int, *nodes: Node, head: str = "stem", stem_width: int = 4, **changes: Any) -> LevelGraph:
    """A level of nothing but a stem and a head, or of ``nodes``."""
    changes = {"label": f"r{resolution}", "head_groups": 2} | changes
    return LevelGraph(resolution=resolution, stem_width=stem_width, nodes=nodes, head=head, **changes)


def plain_entry(*resolutions: int, **changes: Any) -> EntryGraph:
    """An entry with a process and levels at these resolutions, outermost first; enough for a process, no network."""
    changes = {"time_width": 16, "name": "plain"} | changes
    return EntryGraph(levels=tuple(plain_level(resolution) for resolution in resolutions), **changes)


def clip_entry(*sizes: tuple[int, int], **changes: Any) -> EntryGraph:
    """An entry with a process and levels of these sides and frames, outermost first."""
    changes = {"time_width": 16, "name": "clips"} | changes
    levels = (
        plain_level(side, frames=frames, label=f"r{side}f{frames}" if frames > 1 else f"r{side}")
        for side, frames in sizes
    )
    return EntryGraph(levels=tuple(levels), **changes)


def node(name: str, block: str, width: int, *inputs: str, merge: Any = None, **args: Any) -> Node:
    """A node of a level."""
    return Node(name, block, width, tuple(args.items()), inputs, merge)


def rich_entry(**changes: Any) -> EntryGraph:
    """Two levels with text, classes and micro inputs; merges, and feature maps that several blocks read."""
    outer = plain_level(
        8,
        node("a", "conv", 6, "stem", kernel=1),
        node("d", "down", 10, "a"),
        node("nest", "nest", 10, "d"),
        node("u", "up", 6, "nest"),
        node("b", "conv", 12, "u", "a", merge="cat"),
        head="b",
        micro=(MicroInput("scale", 1.0), MicroInput("crop", 0.0)),
    )
    inner = plain_level(
        4,
        node("r", "resnet", 8, "stem", groups=2, dropout=0.1),
        node("t", "attention", 8, "r", groups=2, heads=2),
        node("s", "conv", 8, "t", "r", merge="add"),
        head="s",
        stem_width=6,
        micro=(MicroInput("scale", 1.0),),
        channels=2,
    )
    changes = {"text": TextInput(7, tokens=5, project=3, self_attention=2), "classes": 9} | changes
    return EntryGraph("rich", (outer, inner), time_width=16, **changes)
