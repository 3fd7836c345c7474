"""A thread that appends records to the spool, so that the training loop does not wait for the disk."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable

from registry.tracking.records import Record
from registry.tracking.spool import Spool
from registry.tracking.spool_history import SpoolHistory

__all__ = ["SpoolWriter"]

#: Seconds between attempts while the disk cannot be written.
PAUSE = 1.0


class SpoolWriter:
    """Appends records to a spool in order. While the disk is full, it holds them in memory and tries again.

    Args:
        spool: Spool to append to. The thread opens it.
        first_step: Step from which training resumes.
        warn: Function that is called with a message when a write first fails.
    """

    def __init__(self, spool: Spool, first_step: int, warn: Callable[[str], None]) -> None:
        self.spool, self.first_step, self.warn = spool, first_step, warn
        self._queue: queue.SimpleQueue[Record | None] = queue.SimpleQueue()
        #: Records taken from the queue, and the lines for the spool that were made of them.
        self._received: list[Record] = []
        self._lines: list[Record] = []
        self._history: SpoolHistory | None = None
        self._ended = self._warned = False
        self._deadline = 0.0
        self._thread = threading.Thread(target=self._work, name="tracking", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def put(self, record: Record) -> None:
        """Add a record to the queue, without waiting."""
        self._queue.put(record)

    def close(self, patience: float) -> bool:
        """Write what is in the queue, for at most ``patience`` seconds; return whether all of it was written."""
        self._deadline = time.monotonic() + patience
        self._queue.put(None)
        self._thread.join(patience)
        return not (self._thread.is_alive() or self._has_unwritten())

    def _work(self) -> None:
        while not self._ended or (self._has_unwritten() and time.monotonic() < self._deadline):
            self._wait()
            try:
                self._append()
            except Exception as error:  # no failure of tracking may end training
                if not self._warned:
                    self.warn(f"{self.spool.path}: cannot be written ({error}); tracking waits, training continues")
                self._warned = True
        with contextlib.suppress(OSError):
            self.spool.close()

    def _has_unwritten(self) -> bool:
        """Return whether there are records that are not written."""
        return bool(self._received or self._lines)

    def _wait(self) -> None:
        """Wait for a record, but only for ``PAUSE`` seconds if there are records that are not written."""
        try:
            record = self._queue.get(timeout=PAUSE if self._has_unwritten() else None)
        except queue.Empty:
            return
        if record is None:
            self._ended = True
        else:
            self._received.append(record)

    def _append(self) -> None:
        if self._history is None:
            self.spool.open()
            self._history = SpoolHistory(self.spool, self.first_step)
        while self._received:
            self._lines += self._history.lines_of(self._received.pop(0))
        if self._lines:
            self.spool.append(self._lines)
            self._lines = []
