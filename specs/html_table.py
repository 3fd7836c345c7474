"""Tables in HTML, which notebooks show for the objects of the zoo."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

__all__ = ["html_table"]


def html_table(title: str, head: Sequence[str], rows: Iterable[Sequence[object]], note: str = "") -> str:
    """Return a table as HTML in which every text is escaped.

    Args:
        title: Caption above the table.
        head: Titles of the columns; empty for none.
        rows: Cells of each row.
        note: Line below the title.
    """
    lines = [f"<div><strong>{_text(title)}</strong>"]
    if note:
        lines.append(f"<div>{_text(note)}</div>")
    lines.append("<table>")
    if head:
        lines.append("<tr>" + "".join(f"<th>{_text(cell)}</th>" for cell in head) + "</tr>")
    lines += ["<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>" for row in rows]
    return "\n".join([*lines, "</table></div>"])


def _text(value: object) -> str:
    """Return text for HTML; characters that could control a terminal or the direction of text are replaced."""
    return html.escape("".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in str(value)))
