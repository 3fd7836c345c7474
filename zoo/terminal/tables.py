"""Tables as wide as the terminal, whose numbers and names are never cut.

Text is shortened and columns are left out if there is no room. On a narrower terminal, each row is a list.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

__all__ = ["print_table"]

#: Spaces between columns.
GAP = 2

Cell = "str | Text"


def print_table(
    rows: Sequence[Mapping[str, str | Text]],
    *,
    console: Console,
    text: str | None = None,
    optional: Sequence[str] = (),
    left: Sequence[str] = (),
    least: int = 30,
    turn: bool = False,
) -> None:
    """Print rows as a table.

    Args:
        rows: Cells by title of their column; all rows have the same titles. The first column holds names.
        console: Console to print to.
        text: Title of the last column if it is text, which is shortened where it ends.
        optional: Titles of columns that are left out if there is no room, the first one first.
        left: Titles of columns that are aligned to the left, besides the first and the last.
        least: Width of the text below which optional columns are left out.
        turn: Whether rows may become columns, so that they stay side by side on a narrower terminal.
    """
    if not rows:
        return
    rows = [{title: _on_one_line(cell) for title, cell in row.items()} for row in rows]
    columns = {title: max(len(title), *(len(str(row[title])) for row in rows)) for title in rows[0]}
    room = _room(columns, text, console.width)
    for title in optional:
        if room >= (least if text in columns else 0):
            break
        columns.pop(title, None)
        room = _room(columns, text, console.width)
    if room < 0 and turn and _print_turned(rows, console):
        return
    if room < 0:
        _print_lists(rows, list(columns), console)
        return
    if text in columns and room < 10:
        columns.pop(text)
    _print_columns(rows, columns, console, text, left)


def _on_one_line(cell: str | Text) -> str | Text:
    return " ".join(cell.splitlines()) if isinstance(cell, str) else cell


def _room(columns: Mapping[str, int], text: str | None, width: int) -> int:
    """Return the width that is left for the column of text, or over; negative if the others do not fit."""
    others = [wide for title, wide in columns.items() if title != text]
    return width - sum(others) - GAP * (len(others) - (text not in columns))


def _print_turned(rows: Sequence[Mapping[str, str | Text]], console: Console) -> bool:
    """Print a table with a column for each row, and return True, if it fits and the names of the rows differ."""
    first, *titles = rows[0]
    names = [str(row[first]) for row in rows]
    turned = [{first: title, **{str(row[first]): row[title] for row in rows}} for title in titles]
    columns = {title: max(len(title), *(len(str(row[title])) for row in turned)) for title in (first, *names)}
    if len(columns) <= len(rows) or _room(columns, None, console.width) < 0:
        return False
    _print_columns(turned, columns, console, None, ())
    return True


def _print_columns(
    rows: Sequence[Mapping[str, str | Text]],
    columns: Mapping[str, int],
    console: Console,
    text: str | None,
    left: Sequence[str],
) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, GAP, 0, 0))
    for index, title in enumerate(columns):
        if title == text:
            table.add_column(title)
        elif index == 0:
            table.add_column(title, style="bold", no_wrap=True)
        else:
            table.add_column(title, justify="left" if title in left else "right", no_wrap=True)
    for row in rows:
        cells = [row[title] for title in columns]
        if text in columns:
            last = cells[-1]
            shown = Text(last) if isinstance(last, str) else last.copy()
            # With no_wrap for the column, it would take width from the others.
            shown.no_wrap, shown.overflow = True, "ellipsis"
            cells[-1] = shown
        table.add_row(*cells)
    console.print(table)


def _print_lists(rows: Sequence[Mapping[str, str | Text]], titles: Sequence[str], console: Console) -> None:
    """Print each row as its name, and one line for each of its other cells."""
    from rich.text import Text

    first, *others = titles
    for row in rows:
        console.print(Text(str(row[first]), "bold"), soft_wrap=True)
        for title in others:
            if str(row[title]):
                console.print(Text.assemble((f"  {title} ", "dim"), row[title]), soft_wrap=True)
