"""The MLflow store: its address, its creation, and what all runs in it share."""

from __future__ import annotations

import contextlib
import logging
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from builders.files import file_lock, remove_temporaries, replacing
from registry.tracking.stores.addresses import (
    StoreError,
    absolute_uri,
    mlflow_uri,
    shown_uri,
    sqlite_path,
    sqlite_uri,
    stored_uri,
    tracking_uri,
)
from registry.tracking.stores.artifact_places import ARTIFACTS, follow_store
from registry.tracking.stores.experiments import EXPERIMENT, chosen_experiment, experiment_id

__all__ = [
    "EXPERIMENT",
    "StoreError",
    "absolute_uri",
    "connect",
    "entry_run",
    "experiment_id",
    "explained",
    "initialize_store",
    "is_refusal",
    "log_metrics",
    "shown_uri",
    "sqlite_uri",
    "store_errors",
    "store_lock",
    "stored_uri",
    "tracking_uri",
]

#: Tag of a run: the identifier of its LoggedModel.
MODEL_TAG = "logged_model_id"
#: Timeout of a request in seconds, and retries by the client. The sender threads have retries of their own.
HTTP_SECONDS, HTTP_RETRIES = "10", "0"
#: MLflow accepts 1,000 metrics per call.
MAX_METRICS = 1000
#: Patterns in the text of an error, and the message for the user.
_KNOWN = {
    "Connection refused|Failed to establish|NameResolution": (
        "no server answers there; start it, or set MLFLOW_TRACKING_URI to another store"
    ),
    "timed out|ReadTimeout": f"the server does not answer within {HTTP_SECONDS} s; check its log",
    "maintenance mode|unsupported URI": (
        "unsupported kind of store; set MLFLOW_TRACKING_URI to sqlite:///FILE or to the address of a server"
    ),
    "file is not a database|malformed|locate revision": (
        "the file is not a database, is damaged, or was written by a newer MLflow; move it away or use another store"
    ),
    "disk is full|No space left": "the disk is full",
    "unable to open database": "the file cannot be opened; check its folder and permissions, or use another store",
    "readonly database|Read-only file system": "the store is read-only",
}
#: Packages whose exceptions are errors of a store.
_OF_STORES = ("mlflow", "sqlalchemy", "alembic", "requests", "sqlite3")


@contextlib.contextmanager
def store_errors(uri: str) -> Iterator[None]:
    """Turn exceptions of MLflow and its database into one clear message.

    Raises:
        StoreError: In place of an exception of MLflow, SQLAlchemy or requests.
    """
    try:
        yield
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in _OF_STORES:
            raise
        raise StoreError(f"MLflow at {shown_uri(uri)}: {explained(error)}") from error


def explained(error: BaseException) -> str:
    """Return one line that says what is wrong and what to do, without passwords."""
    if isinstance(error, StoreError):
        return str(error)
    problem = shown_uri(str(error))
    known = next((words for pattern, words in _KNOWN.items() if re.search(pattern, problem)), None)
    if known is not None:
        return known
    # SQLAlchemy adds a line about its autoflush before the message of the database.
    lines = [line.strip() for line in problem.splitlines()]
    lines = [line for line in lines if line and "autoflush" not in line] or lines
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__


@contextlib.contextmanager
def store_lock(uri: str) -> Iterator[None]:
    """Hold the lock of a SQLite store, to look something up and create it in one step. Other stores have no lock."""
    path = sqlite_path(uri)
    if path is None:
        yield
        return
    with file_lock(path.with_name(path.name + ".lock")):
        yield


def initialize_store(uri: str) -> None:
    """Create a SQLite store if there is none: one process at a time, and completely or not at all.

    Processes that create the tables of a store at the same time break it, and so does a kill half-way, because MLflow's
    migrations cannot resume. The file is therefore created under another name and renamed. Its artifacts are in the
    folder ``mlruns`` beside it.

    Raises:
        StoreError: The address cannot be read.
    """
    path = sqlite_path(uri)
    if path is None:
        return
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    path.parent.mkdir(parents=True, exist_ok=True)
    if _exists(path):
        return
    with store_lock(uri):
        if _exists(path):
            return
        _remove_unfinished(path)
        with replacing(path) as fresh:
            store = SqlAlchemyStore(mlflow_uri(sqlite_uri(fresh)), (path.parent / ARTIFACTS).as_uri())
            try:
                name = chosen_experiment().name
                if name is not None and store.get_experiment_by_name(name) is None:
                    store.create_experiment(name)
            finally:
                store.engine.dispose()


def _exists(path: Path) -> bool:
    """Return whether there is a store, or something else that must not be replaced. An empty file is neither."""
    return path.exists() and not (path.is_file() and path.stat().st_size == 0)


def _remove_unfinished(path: Path) -> None:
    """Delete what processes that were killed left of the store, also those of version 0.1: ``.mlflow.db.PID.tmp``."""
    remove_temporaries(path.parent, path.name)
    pattern = re.compile(rf"\.{re.escape(path.name)}\.\d+\.tmp(-journal|-wal|-shm)?")
    for found in path.parent.iterdir():
        if pattern.fullmatch(found.name) and not found.is_symlink() and found.is_file():
            found.unlink(missing_ok=True)


def connect(uri: str, warn: Callable[[str], object] | None = None) -> Any:
    """Return a client of the store; create the store if it is a SQLite file that does not exist.

    Unless the user has set them, MLflow's settings are: short timeouts instead of minutes, no telemetry, few log lines.

    Args:
        uri: Address of the store.
        warn: Function that is called with a message if the store was moved and has runs to repair.

    Raises:
        StoreError: The address cannot be read, or is not that of a file.
        sqlite3.Error: The file is not a database, or cannot be read.
    """
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", HTTP_RETRIES)
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", HTTP_SECONDS)
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    from mlflow.tracking import MlflowClient

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # This logger prints a traceback for each error that MLflow also raises.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    initialize_store(uri)
    path = sqlite_path(uri)
    if path is not None:
        # MLflow tries for minutes to open a file that it cannot open.
        if not path.is_file():
            raise StoreError(f"{path}: not a regular file; set MLFLOW_TRACKING_URI to another store")
        moved = follow_store(path)
        if moved is not None and warn is not None:
            warn(str(moved))
    return MlflowClient(tracking_uri=mlflow_uri(uri))


def entry_run(client: Any, name: str, identity: str, experiment: str | None = None) -> str | None:
    """Return the run of an entry with this hash, the parent of its training runs, or None.

    Name and hash must both match: equal entries, such as mdm-s64 and unet-s64, share a hash and have two runs.

    Args:
        client: MLflow client of the store.
        name: Name of the entry.
        identity: Hash of the entry.
        experiment: Identifier of the experiment. Default: that of :func:`experiment_id`.
    """
    runs = client.search_runs(
        [experiment or experiment_id(client)],
        f"tags.kind = 'entry' and tags.entry = '{name}' and tags.hash = '{identity}'",
        max_results=1,
        order_by=["attributes.start_time ASC", "attributes.run_id ASC"],
    )
    return str(runs[0].info.run_id) if runs else None


def log_metrics(client: Any, run_id: str, metrics: Sequence[Any]) -> None:
    """Log MLflow metrics, in as many calls as needed."""
    for start in range(0, len(metrics), MAX_METRICS):
        client.log_batch(run_id, metrics=metrics[start : start + MAX_METRICS], synchronous=True)


def is_refusal(error: Exception) -> bool:
    """Return whether a store rejects a record for good, so that a retry cannot help.

    MLflow also answers BAD_REQUEST for problems of its database, so that code is not a rejection.
    """
    return getattr(error, "error_code", None) in ("INVALID_PARAMETER_VALUE", "RESOURCE_ALREADY_EXISTS")
