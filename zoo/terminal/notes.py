"""Notes that the packages log, such as that a name of ``ZOO_PATH`` shadows a packaged one: a line each on stderr."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from specs.library import NOTES
from specs.printable import printable

__all__ = ["note_lines"]


class _Lines(logging.Handler):
    """Prints every note once."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.printed: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if text not in self.printed:
            self.printed.add(text)
            print(f"note: {printable(text)}", file=sys.stderr)


@contextmanager
def note_lines() -> Iterator[None]:
    """Print the notes that are logged meanwhile, each once."""
    lines, level = _Lines(), NOTES.level
    NOTES.addHandler(lines)
    NOTES.setLevel(logging.INFO)
    try:
        yield
    finally:
        NOTES.removeHandler(lines)
        NOTES.setLevel(level)
