"""A thread that sends the spool of a run during training, with growing pauses while the store is unavailable."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from builders.files import file_lock
from registry.tracking.sender import RunDeletedError, Sender, open_sender
from registry.tracking.spool import Spool
from registry.tracking.store import explained, shown_uri

__all__ = ["SenderThread"]

#: Seconds between batches, and between attempts while the store is unavailable.
SECONDS, FIRST_PAUSE, LAST_PAUSE = 2.0, 1.0, 60.0
#: Seconds between attempts at the end of training, when the user waits, and consecutive failures before giving up.
CLOSING_PAUSE, CLOSING_FAILURES = 0.5, 3


class SenderThread:
    """Sends a spool to a store in the background, and raises no exception of the store.

    Args:
        spool: Spool to send. Another thread appends to it.
        uri: Address of the store.
        warn: Function that is called with a message on a lasting outage and on records that the store rejects.

    Attributes:
        sender: Sender of the spool, once the store could be reached.
        failure: Why the last call failed, or None.
    """

    def __init__(self, spool: Spool, uri: str, warn: Callable[[str], None]) -> None:
        self.spool, self.uri, self.warn = spool, uri, warn
        self.sender: Sender | None = None
        self.failure: str | None = None
        self._failures = 0
        self._closing, self._given_up = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self, patience: float) -> bool:
        """Send the remaining records, for at most ``patience`` seconds; return whether the store has all of them."""
        self._closing.set()
        self._thread.join(patience)
        self._given_up.set()
        return not self._thread.is_alive() and self.failure is None

    def _work(self) -> None:
        try:
            self.spool.folder.mkdir(parents=True, exist_ok=True)
            while not self._given_up.is_set():
                with file_lock(self.spool.folder / ".lock", wait=False) as mine:
                    if mine:
                        self._send_all()
                        return
                if not self._retry("another process is sending this run"):
                    return
        except Exception as error:  # no failure of tracking may end training
            self.failure = explained(error)

    def _send_all(self) -> None:
        while not self._given_up.is_set():
            try:
                self.sender = self.sender or open_sender(self.spool, self.uri, self.warn)
                # Read before sending, so that records appended before `close` are sent.
                closing = self._closing.is_set()
                sent = self.sender.send_next()
            except RunDeletedError:
                self.failure = "the run was deleted there"
                return
            except Exception as error:
                if self._retry(explained(error)):
                    continue
                return
            self.failure, self._failures = None, 0
            if closing and not sent:
                return
            self._closing.wait(SECONDS)

    def _retry(self, failure: str) -> bool:
        """Pause after a failure; return False if training has ended and there are to be no more attempts."""
        self.failure = failure
        self._failures += 1
        if self._closing.is_set():
            time.sleep(CLOSING_PAUSE)
            return self._failures < CLOSING_FAILURES
        if self._failures == 3:
            self.warn(
                f"MLflow at {shown_uri(self.uri)} is not available ({failure}); training continues, and records are "
                f"saved in {self.spool.folder} and sent later"
            )
        if self._closing.wait(min(LAST_PAUSE, FIRST_PAUSE * 2 ** (self._failures - 1))):
            self._failures = 0
        return True
