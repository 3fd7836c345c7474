"""CSV and TSV files: the delimiter, quotes and the header are found from the text."""

from __future__ import annotations

from collections.abc import Sequence

from builders.data.errors import PackError
from builders.data.tables.columns import MAX_COLUMNS, is_image_column, repeated
from builders.data.tables.delimited import Record, parse, split_lines
from builders.data.tables.table import Row, Table, looks_like_file

__all__ = ["DELIMITERS", "csv_table", "read_delimiter"]

#: Delimiters that are recognized, with their names.
DELIMITERS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "pipes"}
NAMES = {"comma": ",", "tab": "\t", r"\t": "\t", "semicolon": ";", "pipe": "|", "space": " ", "colon": ":"}
#: Number of lines that the delimiter is chosen from, and largest number of their characters.
SAMPLE, MAX_LINE = 200, 100_000


def read_delimiter(text: str) -> str:
    r"""Return the delimiter that a text such as ``;``, ``tab`` or ``\t`` names.

    Raises:
        PackError: It is not one character.
    """
    found = NAMES.get(text.lower(), text)
    if len(found) != 1 or found in '"\r\n':
        raise PackError(f"--delimiter must be one character, or one of {', '.join(NAMES)}; not {text!r}")
    return found


def csv_table(path: str, text: str, *, delimiter: str | None = None, wanted: Sequence[str] = ()) -> Table:
    """Return the table in a delimited text.

    Args:
        path: Path of the file, for messages. Files called ``.tsv`` and ``.tab`` are expected to have tabs.
        text: Content of the file.
        delimiter: Character between fields. Default: the one of comma, tab, semicolon and pipe that fits best.
        wanted: Names of columns that the user asks for. If they are numbers, the file need not have a header.

    Raises:
        PackError: The file has no header, and the columns are not named by number.
    """
    lines = split_lines(text)
    if lines and lines[0].lower().startswith("sep=") and len(lines[0].strip()) == 5:  # written by spreadsheets
        delimiter, lines = delimiter or lines[0].strip()[4], ["", *lines[1:]]
    usual = "\t" if path.lower().endswith((".tsv", ".tab")) else ","
    delimiter = delimiter or _best_delimiter(lines, usual)
    records, quoting = parse(lines, delimiter), True
    if delimiter == "\t" and any(record.unclosed or record.quotes for record in records):
        # A program that quotes fields quotes those that hold quotes: here they belong to the texts.
        records, quoting = parse(lines, delimiter, quoting=False), False
    layout = f"separated by {DELIMITERS.get(delimiter, repr(delimiter))}"
    if not records:
        return Table(path, (), (), layout=layout)
    columns = _header(path, records[0], layout, wanted)
    first = 0 if columns[:1] == ("1",) and records[0].fields[:1] != ("1",) else 1
    rows = tuple(_row(record, columns, layout) for record in records[first:])
    return Table(path, tuple(filter(None, columns)), rows, layout=layout, notes=_notes(path, records, quoting))


def _best_delimiter(lines: Sequence[str], usual: str) -> str:
    """Return the delimiter with which the header is understood, and most records fit it."""
    sample = [line[:MAX_LINE] for line in lines[:SAMPLE]]

    def fit(delimiter: str) -> tuple[bool, float, bool]:
        records = parse(sample, delimiter)
        width = len(records[0].fields) if records else 0
        share = sum(len(record.fields) == width for record in records) / max(1, len(records)) if width > 1 else 0.0
        known = 0 < width <= MAX_COLUMNS and any(map(is_image_column, records[0].fields))
        return known, share, delimiter == usual

    return max(DELIMITERS, key=fit)


def _header(path: str, record: Record, layout: str, wanted: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the columns; "1", "2", ... if the file has no header."""
    fields = record.fields
    if len(fields) > MAX_COLUMNS:
        raise PackError(f"{path}, line {record.line}: {len(fields):,} columns ({layout}); the limit is {MAX_COLUMNS:,}")
    if any(map(is_image_column, fields)) or not any(map(looks_like_file, fields)):
        twice = repeated(fields)
        if twice is not None:
            raise PackError(f"{path}, line {record.line}: two columns are called {twice!r}; rename one of them")
        return fields
    numbers = tuple(map(str, range(1, len(fields) + 1)))
    if len(fields) == 1 or any(name in numbers for name in wanted):
        return numbers
    image = next(number for number, field in zip(numbers, fields, strict=True) if looks_like_file(field))
    raise PackError(
        f"{path}, line {record.line}: no header; this line lists an image and has {len(fields)} fields ({layout}). "
        f"Add a line with the names of the columns, such as 'path,caption', or give their numbers: --image {image} "
        f"--caption {next(number for number in numbers if number != image)}"
    )


def _row(record: Record, columns: Sequence[str], layout: str) -> Row:
    fields = record.fields
    while len(fields) > len(columns) and not fields[-1]:
        fields = fields[:-1]
    named = {column: field for column, field in zip(columns, fields, strict=False) if column}
    if len(fields) == len(columns):
        return Row(record.line, named)
    hint = "a field that holds the separator must be in quotes" if len(fields) > len(columns) else "fields are missing"
    if record.unclosed:
        hint = "a quote is not closed"
    return Row(record.line, named, f"{len(fields)} fields, but the header has {len(columns)} ({layout}); {hint}")


def _notes(path: str, records: Sequence[Record], quoting: bool) -> tuple[str, ...]:
    unclosed = [record.line for record in records if record.unclosed]
    if not unclosed or not quoting:
        return ()
    listed = ", ".join(map(str, unclosed[:5])) + (", ..." if len(unclosed) > 5 else "")
    count = f"{len(unclosed):,} lines have" if len(unclosed) > 1 else "one line has"
    return (f"{path}: {count} quotes that do not follow the rules of CSV; read as written (line {listed})",)
