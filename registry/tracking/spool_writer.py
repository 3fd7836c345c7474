"""A thread that appends what training reports to the spool, so that the training loop touches no disk for it."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from registry.tracking.spool import Spool
from registry.tracking.spool_history import SpoolHistory

__all__ = ["Job", "Record", "SpoolThread"]

Record = Mapping[str, Any]
#: Makes records, with what the spool already holds at hand; run in the thread.
Job = Callable[[SpoolHistory], Sequence[Record]]
#: Seconds between tries while the disk takes nothing.
PAUSE = 1.0


class SpoolThread:
    """Appends to a spool, at once and in order; on a disk that is full it keeps what it has and tries again.

    Args:
        spool: opened by the thread.
        first_step: the step that training goes on from.
        warn: told once of a disk that takes nothing, and of a job that fails.
    """

    def __init__(self, spool: Spool, first_step: int, warn: Callable[[str], None]) -> None:
        self.spool, self.first_step, self.warn = spool, first_step, warn
        self._queue: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._jobs: list[Job] = []
        self._records: list[Record] = []
        self._history: SpoolHistory | None = None
        self._ended = self._warned = False
        self._deadline = 0.0
        self._thread = threading.Thread(target=self._work, name="tracking", daemon=True)

    def start(self) -> None:
        """Start; returns at once."""
        self._thread.start()

    def put(self, job: Job) -> None:
        """Have the thread do a job; returns at once."""
        self._queue.put(job)

    def close(self, patience: float) -> bool:
        """Finish what is in the queue, waiting for at most ``patience`` seconds; whether all of it was written."""
        self._deadline = time.monotonic() + patience
        self._queue.put(None)
        self._thread.join(patience)
        return not (self._thread.is_alive() or self._jobs or self._records)

    def _work(self) -> None:
        while not self._ended or (self._waits() and time.monotonic() < self._deadline):
            self._wait()
            try:
                self._append()
            except Exception as error:  # whatever the disk does must not end training
                if not self._warned:
                    self.warn(f"{self.spool.path}: cannot be written ({error}); tracking waits, training goes on")
                self._warned = True
        with contextlib.suppress(OSError):
            self.spool.close()

    def _waits(self) -> bool:
        """Whether something has still to be written."""
        return bool(self._jobs or self._records)

    def _wait(self) -> None:
        """Wait for a job; only for a moment if something has still to be written."""
        try:
            job = self._queue.get(timeout=PAUSE if self._waits() else None)
        except queue.Empty:
            return
        if job is None:
            self._ended = True
        else:
            self._jobs.append(job)

    def _append(self) -> None:
        if self._history is None:
            self.spool.open()
            self._history = SpoolHistory(self.spool, self.first_step)
        while self._jobs:
            self._records += self._jobs.pop(0)(self._history)
        if self._records:
            self.spool.append(self._records)
            self._records = []
