"""Signals that ask a command to stop."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from typing import Any

__all__ = ["signals_interrupt", "stop_signals"]


def stop_signals() -> list[signal.Signals]:
    """Return the signals that ask a program to stop: Ctrl-C, SIGTERM, and SIGHUP unless nohup ignores it."""
    found = [signal.SIGINT, signal.SIGTERM]
    hangup = getattr(signal, "SIGHUP", None)  # not on Windows
    if hangup is not None and signal.getsignal(hangup) != signal.SIG_IGN:
        found.append(hangup)
    return found


@contextlib.contextmanager
def signals_interrupt() -> Iterator[None]:
    """Raise KeyboardInterrupt for SIGTERM and SIGHUP too, so that what Ctrl-C ends in order they do as well."""

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    previous = {}
    for number in stop_signals():
        if number != signal.SIGINT:
            with contextlib.suppress(ValueError):  # not in the main thread
                previous[number] = signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
