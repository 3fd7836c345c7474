"""Child processes that end with their parent, also if it is killed, and leave signals to it."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from multiprocessing.connection import wait

__all__ = ["follow_parent", "ignored_sigint"]


def follow_parent(index: int = 0) -> None:
    """Make this child process end as soon as its parent has ended, in whichever way, and ignore signals to the group.

    Ctrl-C, a closed terminal and a cluster's time limit reach all processes of a group. The parent finishes its work
    with the help of its children before it ends them.

    Args:
        index: Number of the child; not used. It lets a DataLoader call this as its ``worker_init_fn``.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        with contextlib.suppress(AttributeError, ValueError):  # not on Windows; not in the main thread
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent.sentinel,), name="follow-parent", daemon=True).start()


@contextlib.contextmanager
def ignored_sigint() -> Iterator[None]:
    """Ignore SIGINT, which only the main thread receives. Processes that start meanwhile inherit this."""
    is_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGINT, signal.SIG_IGN) if is_main else None
    try:
        yield
    finally:
        if is_main:
            signal.signal(signal.SIGINT, before)


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)
