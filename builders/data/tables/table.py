"""A table that lists images or videos: its columns and rows, and the rows that do not fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from builders.data.recognition.media import IMAGE, VIDEO
from specs.errors import quote

__all__ = ["Fields", "Row", "Table", "looks_like_file"]

#: Texts of a row by column; None for a value that is no text, such as a list or a mapping.
Fields = Mapping[str, str | None]


class Row(NamedTuple):
    """A row of a table.

    Attributes:
        number: Number of the line or record, from 1.
        fields: Texts by column.
        problem: Why the row cannot be used, "" if it can.
    """

    number: int
    fields: Fields
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows that list images.

    Attributes:
        path: Path of the file, for messages.
        columns: Names of the columns, in order.
        rows: Rows, in order.
        unit: What the number of a row counts: "line", "record" or "row".
        layout: How the file was read, such as "separated by ';'"; "" if there is only one way.
        notes: Findings that the user should know, one sentence each.
    """

    path: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    unit: str = "line"
    layout: str = ""
    notes: tuple[str, ...] = ()

    def place(self, row: Row) -> str:
        """Return where a row is, for messages."""
        return f"{self.path}, {self.unit} {row.number}"

    def described(self) -> str:
        """Return the columns, for messages."""
        listed = ", ".join(quote(name) for name in self.columns[:20]) or "none"
        more = f" and {len(self.columns) - 20} more" if len(self.columns) > 20 else ""
        return f"its columns are {listed}{more}" + (f" ({self.layout})" if self.layout else "")


def looks_like_file(text: str) -> bool:
    """Return whether a text ends like the name of an image or video file."""
    return IMAGE.looks_like(text) or VIDEO.looks_like(text)
