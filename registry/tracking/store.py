"""The MLflow store: its address, its creation, and what all runs in it share."""

from __future__ import annotations

import contextlib
import logging
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from builders.files import file_lock, remove_temporaries, replacing

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
    "store_errors",
    "store_lock",
    "tracking_uri",
]

EXPERIMENT = "matryoshka-zoo"
#: Tag of a run: the identifier of its LoggedModel.
MODEL_TAG = "logged_model_id"
SQLITE = "sqlite:///"
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
    "readonly database|Read-only file system": "the store is read-only",
}
#: Packages whose exceptions are errors of a store.
_OF_STORES = ("mlflow", "sqlalchemy", "alembic", "requests", "sqlite3")


class StoreError(ValueError):
    """A store cannot be used; the message says which one, why, and what to do."""


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
    problem = shown_uri(str(error))
    known = next((words for pattern, words in _KNOWN.items() if re.search(pattern, problem)), None)
    if known is not None:
        return known
    # SQLAlchemy adds a line about its autoflush before the message of the database.
    lines = [line.strip() for line in problem.splitlines()]
    lines = [line for line in lines if line and "autoflush" not in line] or lines
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__


def tracking_uri() -> str:
    """Return the address of the store: ``MLFLOW_TRACKING_URI``, or a SQLite file in the working folder."""
    return absolute_uri(os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}mlflow.db")


def absolute_uri(uri: str) -> str:
    """Return an address that does not depend on the working folder: the path of a SQLite file is made absolute."""
    if uri.startswith(SQLITE):
        return f"{SQLITE}{Path(uri.removeprefix(SQLITE)).absolute()}"
    return uri


def shown_uri(uri: str) -> str:
    """Return a text with the passwords of all addresses in it replaced, for messages and files."""
    return re.sub(r"(?<=://)([^:/@]*):[^@/]*@", r"\1:***@", uri)


@contextlib.contextmanager
def store_lock(uri: str) -> Iterator[None]:
    """Hold the lock of a SQLite store, to look something up and create it in one step. Other stores have no lock."""
    if not uri.startswith(SQLITE):
        yield
        return
    path = Path(uri.removeprefix(SQLITE))
    with file_lock(path.with_name(path.name + ".lock")):
        yield


def initialize_store(uri: str) -> None:
    """Create a SQLite store if there is none: one process at a time, and completely or not at all.

    Processes that create the tables of a store at the same time break it, and so does a kill half-way, because MLflow's
    migrations cannot resume. The file is therefore created under another name and renamed.
    """
    if not uri.startswith(SQLITE):
        return
    from mlflow.tracking import MlflowClient

    path = Path(uri.removeprefix(SQLITE))
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        return
    with store_lock(uri):
        if path.exists():
            return
        remove_temporaries(path.parent, path.name)  # of processes that were killed
        with replacing(path) as fresh:
            client = MlflowClient(tracking_uri=f"{SQLITE}{fresh}")
            experiment_id(client)
            with contextlib.suppress(AttributeError):  # MLflow has no public function that closes its connections
                client._tracking_client.store.engine.dispose()


def experiment_id(client: Any) -> str:
    """Return the identifier of the experiment of all runs; create or restore it if needed."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(EXPERIMENT)
    if found is None:
        try:
            return str(client.create_experiment(EXPERIMENT))
        except MlflowException:  # another process created it in between
            found = client.get_experiment_by_name(EXPERIMENT)
            if found is None:
                raise
    if found.lifecycle_stage != "active":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def connect(uri: str) -> Any:
    """Return a client of the store; create the store if it is a SQLite file that does not exist.

    Unless the user has set them, MLflow's settings are: short timeouts instead of minutes, no telemetry, few log lines.
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
    return MlflowClient(tracking_uri=uri)


def entry_run(client: Any, name: str, identity: str) -> str | None:
    """Return the run of an entry with this hash, the parent of its training runs, or None.

    Name and hash must both match: equal entries, such as mdm-s64 and unet-s64, share a hash and have two runs.
    """
    runs = client.search_runs(
        [experiment_id(client)],
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
