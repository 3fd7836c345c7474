"""Progress of a measurement by phases."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Progress", "counted", "silent"]

#: Called with the name of the current phase, the amount done and the total amount.
Progress = Callable[[str, int, int], object]


def silent(what: str, done: int, total: int) -> None:
    """Report no progress."""


def counted(progress: Progress, what: str, total: int) -> Callable[[int], object]:
    """Return a callback that adds up the amounts of one phase."""
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        progress(what, done, total)

    return advance
