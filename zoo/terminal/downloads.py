"""Progress of downloads on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from zoo.terminal.streams import trusted

__all__ = ["download_lines"]

#: Seconds after which a download is reported, and between two reports.
FIRST, NEXT = 2.0, 2.0
MIB = 2**20


@contextmanager
def download_lines() -> Iterator[None]:
    """Report downloads that take longer than two seconds: a line that is rewritten, or without a terminal, one each."""
    from builders.download import reporting
    from specs.printable import printable

    started: dict[str, float] = {}
    shown: dict[str, float] = {}

    def report(name: str, done: int, size: int | None) -> None:
        now = time.monotonic()
        first = started.setdefault(name, now)
        if now - first < FIRST or now - shown.get(name, 0.0) < NEXT:
            return
        terminal = sys.stderr.isatty()
        if terminal or name not in shown:
            total = f" of {size / MIB:,.0f}" if size else ""
            rate = f"{done / MIB / (now - first):,.1f} MiB/s"
            text = f"downloading {printable(name)}: {done / MIB:,.0f}{total} MiB, {rate}"
            line = f"\r{text[:100]:<100}" if terminal else f"{text}\n"
            print(line, end="", file=trusted(sys.stderr), flush=True)
        shown[name] = now

    with reporting(report):
        try:
            yield
        finally:
            if shown and sys.stderr.isatty():
                print(f"\r{'':<100}\r", end="", file=trusted(sys.stderr), flush=True)
