"""Sends the unsent records of a training run, or all of them to another store: ``zoo track --send``."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from builders.files import file_lock
from registry.tracking.sender import RunDeletedError, Sender, open_sender
from registry.tracking.spool import SentState, Spool
from registry.tracking.spool_history import SpoolHistory
from registry.tracking.store import absolute_uri, explained, shown_uri, stored_uri, tracking_uri
from registry.tracking.stores.addresses import sqlite_path, sqlite_uri
from registry.tracking.stores.experiments import Experiment

__all__ = ["SendReport", "TrackingError", "send_spool"]

#: Attempts to reach a store, and the first pause between them in seconds.
TRIES, PAUSE = 3, 1.0


class TrackingError(ValueError):
    """There is nothing to send, or it cannot be sent; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class SendReport:
    """The result of sending a spool.

    Attributes:
        uri: Address of the store, without its password.
        run_id: Identifier of the MLflow run, if the store has it.
        status: Status of the run.
        records: Number of records sent.
        left: Number of records that were not sent because of ``failure``.
        refused: Number of records that the store rejected.
        failure: Why sending ended early, or None.
        warnings: One message for each rejected record.
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
        """Whether the store has all records."""
        return not (self.left or self.refused)


def send_spool(folder: str | Path, uri: str | None = None, experiment: str | None = None) -> SendReport:
    """Send the unsent records of a training run to a store.

    A run that was killed, and so still has the status RUNNING, is marked as KILLED.

    Args:
        folder: Folder of the run, such as ``runs/NAME``.
        uri: Address of the store. The default is ``MLFLOW_TRACKING_URI``, or else the store that training logged to. A
            store that does not have the run receives all records.
        experiment: Name of the experiment of a run that the store does not have. The default is that of its start.

    Raises:
        TrackingError: The folder has no spool, or another process is sending the run.
    """
    folder = Path(folder)
    spool = Spool(folder)
    if not spool.path.is_file():
        raise TrackingError(f"{folder}: no {spool.path.relative_to(folder)} here; name the folder of a tracked run")
    with file_lock(spool.folder / ".lock", wait=False) as mine:
        if not mine:
            raise TrackingError(f"{folder}: another process is sending this run, such as its training; try again later")
        history = SpoolHistory(spool, 0)
        status = _mark_if_killed(spool, history)
        store = absolute_uri(uri) if uri else _default_uri(history, folder)
        return _send(spool, store, status, Experiment(experiment) if experiment else None)


def _default_uri(history: SpoolHistory, folder: Path) -> str:
    """Return the store that training logged to, also if it was moved together with the run."""
    known = history.uri
    if known is None or os.environ.get("MLFLOW_TRACKING_URI", "").strip() or ":***@" in known:
        return tracking_uri()
    if history.place is not None and (near := folder / history.place).is_file():
        return sqlite_uri(near)
    path = sqlite_path(known)
    # A store in a folder that does not exist any more was moved; it must not be created there again.
    return known if path is None or path.parent.is_dir() else tracking_uri()


def _mark_if_killed(spool: Spool, history: SpoolHistory) -> str:
    """Add the status that a killed run could not add itself, and return the status of the run."""
    if history.status != "RUNNING" or history.run is None:
        return history.status
    with file_lock(spool.run_folder / ".lock", wait=False) as idle:
        if not idle:  # training is running, with tracking off or in another folder
            return history.status
        last = int(spool.path.stat().st_mtime * 1000)
        spool.append([{"kind": "status", "key": history.run["key"], "status": "KILLED", "time": last}])
        spool.close()
    return "KILLED"


def _send(spool: Spool, uri: str, status: str, experiment: Experiment | None) -> SendReport:
    warnings: list[str] = []
    sender: Sender | None = None
    failure = None
    for attempt in range(TRIES):
        try:
            sender = sender or open_sender(spool, uri, warnings.append, experiment, only_inside=True)
            while sender.send_next():
                pass
            failure = None
            break
        except RunDeletedError:
            failure = "the run was deleted in the store; send again to create it again"
            break
        except Exception as error:  # MLflow raises exceptions of many libraries
            failure = explained(error)
            if attempt + 1 < TRIES:
                time.sleep(PAUSE * 2**attempt)
    state = sender.state if sender else spool.sent(stored_uri(uri)) or SentState("")
    return SendReport(
        uri=shown_uri(uri),
        run_id=state.run_id or None,
        status=status,
        records=sender.records if sender else 0,
        left=sum(1 for _ in spool.lines(state.offset)),
        refused=len(state.refused),
        failure=failure,
        warnings=tuple(warnings),
    )
