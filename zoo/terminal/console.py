"""Output of commands: a rich console, and JSON."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["console", "print_json"]

#: Width in columns if the output is not a terminal and ``COLUMNS`` is not set.
WIDTH = 120


def console() -> Console:
    """Return a console on stdout, as wide as the terminal, or wide enough for tables if there is none."""
    from rich.console import Console

    found = Console(highlight=False, soft_wrap=False)
    if found.is_terminal or os.environ.get("COLUMNS", "").isdecimal():
        return found
    return Console(highlight=False, width=WIDTH)


def print_json(value: Any) -> None:
    """Print plain data as indented JSON."""
    print(json.dumps(value, indent=2, ensure_ascii=False, default=str))
