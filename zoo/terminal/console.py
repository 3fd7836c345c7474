"""Output of commands: a rich console, and JSON."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console

from specs.printable import printable
from zoo.terminal.streams import trusted

__all__ = ["console", "error_console", "print_json"]

#: Width in columns if the output is not a terminal and ``COLUMNS`` is not set.
WIDTH = 120


def console() -> Console:
    """Return a console on stdout, as wide as the terminal, or wide enough for tables if there is none."""
    file = trusted(sys.stdout)
    found = _console(file)
    if found.is_terminal or os.environ.get("COLUMNS", "").isdecimal():
        return found
    return _console(file, width=WIDTH)


def error_console() -> Console:
    """Return a console on stderr."""
    return _console(trusted(sys.stderr))


def _console(file: TextIO, width: int | None = None) -> Console:
    """Return a console that shows brackets in texts as they are and escapes control characters."""
    from rich.console import Console
    from rich.segment import Segment

    class SafeConsole(Console):
        def render(self, renderable: Any, options: Any = None) -> Any:
            for segment in super().render(renderable, options):
                if segment.control or segment.text.isprintable():
                    yield segment
                else:
                    yield Segment(printable(segment.text, keep="\n"), segment.style)

    return SafeConsole(file=file, width=width, highlight=False, markup=False, emoji=False, soft_wrap=False)


def print_json(value: Any) -> None:
    """Print plain data as indented JSON."""
    print(json.dumps(value, indent=2, ensure_ascii=False, default=str))
