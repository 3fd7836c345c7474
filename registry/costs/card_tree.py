"""A cost card as a tree for terminals: columns of numbers that line up, and are never cut."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from registry.costs.units import short, short_bytes
from specs.blocks import Size
from specs.printable import printable

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text
    from rich.tree import Tree

__all__ = ["card_tree", "cells"]

#: Width of the guides of the tree, per depth.
INDENT = 4
#: Smallest width of the first column; below it, the numbers of a line are written under its title.
NARROWEST = 20
#: Width from which MACs are shown, which are half of the FLOPs.
WIDE = 98
HEADER = ("", "parameters", "MACs", "FLOPs", "share")
#: A line of the tree: its depth, its title and its numbers, and their style.
Line = tuple[int, tuple[str, ...], str]


def cells(row: Any, card: Any) -> tuple[str, ...]:
    """Return the numbers of a level, a stage or the whole card: parameters, MACs, FLOPs, and share of the FLOPs."""
    return f"{row.parameters:,}", short(row.macs), short(row.flops), f"{100 * row.flops / card.flops:.1f} %"


def card_tree(card: Any, steps: int, width: int, unlisted: Sequence[str]) -> Tree:  # pragma: no mutate block
    """Return a card as a tree.

    Args:
        card: The :class:`registry.costs.card.Card`.
        steps: Denoising steps of the generated sample, if the card has none of its own.
        width: Width of the terminal in columns.
        unlisted: Kinds of blocks that are not listed in the title of a stage.
    """
    from rich.text import Text
    from rich.tree import Tree

    title = Text.assemble((card.name, "bold"), f"  {printable(' '.join(card.summary.split()))}" if card.summary else "")
    root = Tree(title, guide_style="dim")
    for name, parts in _facts(card, steps):
        root.add(_wrapped(name, parts, width - INDENT))
    lines = list(_lines(card, unlisted))
    columns = _columns(lines, width)
    root.add(_table(columns, 0, HEADER, "dim") if columns else Text("parameters, FLOPs, share", "dim"))
    branch = root
    for depth, row, style in lines:
        line = _table(columns, depth, row, style) if columns else _stacked(row, style)
        added = branch.add(line)
        if style == "bold cyan" and columns:  # without columns there is no room for indents either
            branch = added
    return root


def _facts(card: Any, steps: int) -> Iterator[tuple[str, list[str]]]:
    """Yield the facts of a card by name, each in parts between which a line may end."""
    memory, sampling = card.memory, card.sampling
    if sampling is not None:
        samples = [f"per generated sample {short(sampling.flops)} ({sampling.title})"]
    else:
        plain, guided = (short(card.sampling_flops(steps, guided)) for guided in (False, True))
        samples = [f"per generated sample ({steps} steps) {plain}", f"with guidance {guided}"]
    yield "inputs", card.conditioning.split(", ")
    yield "process", card.process.split(", ")
    yield "hash", [card.hash]
    yield "graph", [card.graph_hash]
    yield (
        "memory",
        [
            "activations per sample in float32: ",
            f"inference {short_bytes(memory.inference)}",
            f"training {short_bytes(memory.training)}",
            f"with checkpointing {short_bytes(memory.checkpointed)}",
        ],
    )
    yield "FLOPs", [f"per training sample {short(card.training_flops)}", *samples]


def _wrapped(name: str, parts: Sequence[str], width: int) -> Text:
    """Return a fact whose lines end between its parts, so that a number stays with its unit."""
    from rich.text import Text

    lines, room = [""], max(10, width - 9)
    for index, part in enumerate(parts):
        end = "" if index == len(parts) - 1 or part.endswith(" ") else ", "
        if lines[-1] and len(lines[-1] + part + end.rstrip()) > room:
            lines.append("")
        lines[-1] += part + end
    return Text.assemble((f"{name:9}", "dim"), ("\n" + 9 * " ").join(line.rstrip() for line in lines))


def _lines(card: Any, unlisted: Sequence[str]) -> Iterator[Line]:
    yield 0, ("whole network", *cells(card, card)), "bold"
    for depth, level in enumerate(card.levels):
        frames = f", {level.frames} frames" if level.frames > 1 else ""
        title = f"{level.label}  {level.resolution} x {level.resolution} pixels{frames}"
        yield depth, (title, *cells(level, card)), "bold cyan"
        for stage in level.stages:
            yield depth + 1, (_stage_title(stage, unlisted), *cells(stage, card)), ""


def _columns(lines: Sequence[Line], width: int) -> dict[int, int] | None:
    """Return the widths of the columns that fit, by number; that of the first is for lines without indent.

    None if not even the parameters and FLOPs have room beside the shortest titles.
    """
    rows = [HEADER, *(row for _, row, _ in lines)]
    wide = {column: max(len(row[column]) for row in rows) for column in range(1, len(HEADER))}
    longest = max(len(row[0]) + INDENT * depth for depth, row, _ in lines)
    deepest = INDENT * max(depth for depth, _, _ in lines)
    for shown in ((1, 2, 3, 4), (1, 3, 4), (1, 3)):
        room = width - INDENT - sum(wide[column] + 2 for column in shown)
        if 2 in shown and width < WIDE and room < longest:
            continue
        if room >= deepest + NARROWEST:
            return {0: min(room, longest), **{column: wide[column] for column in shown}}
    return None


def _table(columns: dict[int, int], depth: int, row: Sequence[str], style: str) -> Table:
    """Return one line of the tree; its first column shrinks with the indent of its depth, so that numbers line up."""
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2, 0, 0))
    for column, width in columns.items():
        title = column == 0
        table.add_column(
            width=width - INDENT * depth if title else width, justify="left" if title else "right", no_wrap=not title
        )
    room = columns[0] - INDENT * depth
    table.add_row(*(Text(row[column] if column else _folded(row[0], room), style) for column in columns))
    return table


def _folded(title: str, room: int) -> str:
    """Return a title whose lines end between its parts, so that a number stays with its block."""
    lines = [""]
    for part in title.split(", "):
        joined = f"{lines[-1]}, {part}" if lines[-1] else part
        if lines[-1] and len(joined) >= room:  # there may be a comma
            lines[-1] += ","
            lines.append(part)
        else:
            lines[-1] = joined
    return "\n".join(lines) if len(title) > room else title


def _stacked(row: Sequence[str], style: str) -> Text:
    """Return one line of the tree for a narrow terminal: each number on a line of its own, which is never cut."""
    from rich.text import Text

    return Text.assemble((row[0], style), *(f"\n  {row[column]}" for column in (1, 3, 4)), overflow="fold")


def _stage_title(stage: Any, unlisted: Sequence[str]) -> str:
    if stage.name == "nest":
        return f"nest at {Size(stage.resolution, stage.frames).short}"
    blocks = [name if number == 1 else f"{number} {name}" for name, number in stage.blocks if name not in unlisted]
    if stage.resolution is None:
        return ", ".join(blocks)
    return f"{stage.name}, width {'/'.join(map(str, stage.widths))}: {', '.join(blocks)}"
