"""Sending by hand what a training run could not: what its store did not get, or all of it to another store."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from builders.files import file_lock
from registry.tracking.sender import RunDeletedError, Sender
from registry.tracking.spool import Spool
from registry.tracking.spool_history import SpoolHistory
from registry.tracking.store import absolute_uri, connect, explained, shown_uri, tracking_uri

__all__ = ["Sent", "TrackingError", "send_spool"]

#: How often a store is tried, and the seconds between.
TRIES, PAUSE = 3, 1.0


class TrackingError(ValueError):
    """There is nothing to send, or it cannot be sent now; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What was sent.

    ``records`` were sent now, ``left`` are those the store still lacks because of ``failure``, and ``refused`` those it
    did not take. ``uri`` has no password.
    """

    uri: str
    run_id: str | None
    status: str
    records: int
    left: int
    refused: int
    failure: str | None
    warnings: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether the store has everything."""
        return not (self.left or self.refused)


def send_spool(folder: str | Path, uri: str | None = None) -> Sent:
    """Send what a training run has in its spool and a store does not have.

    A run that was killed, and so still counts as running, is marked as killed.

    Args:
        folder: of the run, such as ``runs/NAME``.
        uri: of the store; by default ``MLFLOW_TRACKING_URI``, or the store that training was to log to. A store that
            never had the run gets all of it.

    Raises:
        TrackingError: the folder has no spool, or the run is being sent by another process.
    """
    folder = Path(folder)
    spool = Spool(folder)
    if not spool.path.is_file():
        raise TrackingError(f"{folder}: holds no {spool.path.relative_to(folder)}; give the folder of a tracked run")
    with file_lock(spool.folder / ".lock", wait=False) as mine:
        if not mine:
            raise TrackingError(f"{folder}: the run is being sent by another process, such as its training")
        history = SpoolHistory(spool, 0)
        status = _mark_if_killed(spool, history)
        return _send(spool, absolute_uri(uri) if uri else _default_uri(history), status)


def _default_uri(history: SpoolHistory) -> str:
    known = history.uri
    if known is None or "MLFLOW_TRACKING_URI" in os.environ or ":***@" in known:
        return tracking_uri()
    return known


def _mark_if_killed(spool: Spool, history: SpoolHistory) -> str:
    """Add the end that a killed run could not add itself; the status of the run."""
    if history.status != "RUNNING" or history.run is None:
        return history.status
    with file_lock(spool.run_folder / ".lock", wait=False) as idle:
        if not idle:  # training runs, tracked by nobody or elsewhere
            return history.status
        last = int(spool.path.stat().st_mtime * 1000)
        spool.append([{"kind": "status", "key": history.run["key"], "status": "KILLED", "time": last}])
        spool.close()
    return "KILLED"


def _send(spool: Spool, uri: str, status: str) -> Sent:
    warnings: list[str] = []
    sender: Sender | None = None
    failure = None
    for attempt in range(TRIES):
        try:
            if sender is None:
                sender = Sender(spool, connect(uri), uri, warnings.append)
                sender.send_refused()
            while sender.send_next():
                pass
            failure = None
            break
        except RunDeletedError:
            failure = "the run was deleted there meanwhile; send again to make it anew"
            break
        except Exception as error:  # whatever MLflow raises
            failure = explained(error)
            if attempt + 1 < TRIES:
                time.sleep(PAUSE * 2**attempt)
    store = shown_uri(uri)
    state = sender.state if sender else spool.sent(store)
    return Sent(
        store,
        (state.run_id or None) if state else None,
        status,
        sender.records if sender else 0,
        sum(1 for _ in spool.lines(state.offset if state else 0)),
        len(state.refused) if state else 0,
        failure,
        tuple(warnings),
    )
