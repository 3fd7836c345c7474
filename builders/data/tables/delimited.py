"""Records of delimited text (CSV, TSV), as they are written by programs and by hand.

Python's csv module guesses where a file breaks its rules: a quote that is never closed swallows the following lines.
This parser closes a quoted field only where a delimiter or the end of a line follows, and otherwise takes the field as
written. Spaces around fields are removed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from builders.data.tables.table import looks_like_file

__all__ = ["Record", "parse", "split_lines"]

#: A quote in a quoted field: doubled, also after a backslash that belongs to the text, or after a backslash.
_ESCAPED = re.compile(r'(\\?)""|\\"')
#: Largest number of lines that a quoted field can span.
MAX_SPAN = 100


class Record(NamedTuple):
    """A record.

    Attributes:
        line: Number of its first line, from 1.
        fields: Its fields.
        unclosed: Whether it has a quoted field that does not end where a field can end.
        quotes: Whether a field that is not quoted has quotes.
    """

    line: int
    fields: tuple[str, ...]
    unclosed: bool = False
    quotes: bool = False


def split_lines(text: str) -> list[str]:
    r"""Return the lines of a text that ends them with ``\n``, ``\r\n`` or ``\r``.

    Other separators of Unicode, which captions may contain, do not end a line.
    """
    if "\n" not in text:
        return text.split("\r")
    return [line.removesuffix("\r") for line in text.split("\n")]


def parse(lines: Sequence[str], delimiter: str, *, quoting: bool = True) -> list[Record]:
    """Return the records of delimited text, without blank ones.

    Args:
        lines: Lines of the text.
        delimiter: Character between fields.
        quoting: Whether fields may be put in double quotes.
    """
    records: list[Record] = []
    index = 0
    while index < len(lines):
        if quoting and '"' in lines[index]:
            record, after = _quoted_record(lines, index, delimiter, len(records[0].fields) if records else 0)
        else:
            record = Record(index + 1, tuple(field.strip(" \t\r") for field in lines[index].split(delimiter)))
            after = index + 1
        if any(record.fields):
            records.append(record)
        index = after
    return records


def _quoted_record(lines: Sequence[str], first: int, delimiter: str, width: int) -> tuple[Record, int]:
    """Return the record that begins at a line, and the index of the line after it."""
    fields: list[str] = []
    unclosed = quotes = False
    index, at = first, 0
    while True:
        line = lines[index]
        start = at
        while line[start : start + 1] == " " != delimiter:
            start += 1
        found = _quoted_field(lines, index, start, delimiter, width) if line.startswith('"', start) else None
        if found is not None:
            field, index, at = found
            line = lines[index]
            at = at if at < len(line) else -1
        else:
            unclosed |= line.startswith('"', start)
            at = line.find(delimiter, start)
            field = line[start : at if at >= 0 else len(line)].strip(" \t\r")
            quotes |= '"' in field
        fields.append(field)
        if at < 0:
            return Record(first + 1, tuple(fields), unclosed, quotes), index + 1
        at += 1


def _quoted_field(
    lines: Sequence[str], index: int, start: int, delimiter: str, width: int
) -> tuple[str, int, int] | None:
    """Return a quoted field, the index of the line it ends in, and the position of the delimiter there.

    None if the quote is not closed before a delimiter or the end of a line.
    """
    parts: list[str] = []
    at = begin = start + 1
    last = min(len(lines), index + MAX_SPAN)
    opening = lines[index]
    while True:
        line = lines[index]
        at = line.find('"', at)
        if at < 0:
            parts.append(line[begin:])
            index, at, begin = index + 1, 0, 0
            if index >= last or (
                _is_record(lines[index], delimiter, width)
                and (not _closes(lines[index], delimiter) or _is_record(opening, delimiter, width))
            ):
                return None
        elif line.startswith('""', at):
            at += 2
        else:
            after = at + 1
            while line.startswith((" ", "\r"), after):
                after += 1
            if after == len(line) or line.startswith(delimiter, after) or line.startswith(delimiter, at + 1):
                parts.append(line[begin:at])
                text = _ESCAPED.sub(lambda match: f'{match[1] or ""}"', "\n".join(parts))
                return text, index, line.find(delimiter, at + 1) if after < len(line) else len(line)
            if line[at - 1] != "\\":
                return None
            at += 1


def _closes(line: str, delimiter: str) -> bool:
    """Return whether the first field of a line ends with a quote that it does not open: the end of a field above."""
    first = line[: line.find(delimiter)].rstrip(" ")
    return first.endswith('"') and first.count('"') % 2 == 1


@lru_cache(maxsize=4)
def _is_record(line: str, delimiter: str, width: int) -> bool:
    """Return whether a line inside quotes looks like a record that an unclosed quote would swallow."""
    fields = line.split(delimiter)
    return 1 < width <= len(fields) and any(looks_like_file(field.strip('" \r')) for field in fields)
