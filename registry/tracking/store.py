"""The MLflow store: where it is, how it is first made, and how the runs of an entry are found in it."""

from __future__ import annotations

import contextlib
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from builders.files import file_lock

__all__ = [
    "EXPERIMENT",
    "StoreError",
    "absolute_uri",
    "connect",
    "entry_run",
    "experiment_id",
    "explained",
    "initialise_store",
    "is_refusal",
    "shown_uri",
    "store_errors",
    "store_lock",
    "tracking_uri",
]

EXPERIMENT = "matryoshka-zoo"
SQLITE = "sqlite:///"
#: What a client waits for an answer, and how often it asks again by itself: whoever sends tries again anyway.
HTTP_SECONDS, HTTP_RETRIES = "10", "0"
#: What a failure's text says, and what to tell.
_KNOWN = {
    "Connection refused|Failed to establish|NameResolution": (
        "no server answers there; start it, or name another store by MLFLOW_TRACKING_URI"
    ),
    "timed out|ReadTimeout": f"the server accepts calls and does not answer within {HTTP_SECONDS} s; is it well?",
    "maintenance mode|unsupported URI": (
        "no such kind of store; MLFLOW_TRACKING_URI takes sqlite:///FILE or the address of a server"
    ),
    "file is not a database|malformed|locate revision": (
        "the file is not a database, or damaged, or of a newer MLflow; move it away or name another store"
    ),
    "disk is full|No space left": "the disk is full",
    "readonly database|Read-only file system": "the store can only be read",
}
#: Packages whose exceptions say what is wrong with a store.
_OF_STORES = ("mlflow", "sqlalchemy", "alembic", "requests", "sqlite3")


class StoreError(ValueError):
    """A store cannot be used; the message says which, why, and what to do."""


@contextlib.contextmanager
def store_errors(uri: str) -> Iterator[None]:
    """Turn what MLflow and its database raise within into one clear message.

    Raises:
        StoreError: instead of an error of MLflow's or SQLAlchemy's.
    """
    try:
        yield
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in _OF_STORES:
            raise
        raise StoreError(f"MLflow at {shown_uri(uri)}: {explained(error)}") from error


def explained(error: BaseException) -> str:
    """What is wrong and what to do, in a line, from what may be a page of text; without passwords."""
    problem = shown_uri(str(error))
    known = next((words for pattern, words in _KNOWN.items() if re.search(pattern, problem)), None)
    if known is not None:
        return known
    # SQLAlchemy puts a remark of its own before what the database says.
    lines = [line.strip() for line in problem.splitlines()]
    lines = [line for line in lines if line and "autoflush" not in line] or lines
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__


def tracking_uri() -> str:
    """Where runs go: ``MLFLOW_TRACKING_URI``, or a SQLite file in the working folder."""
    return absolute_uri(os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}mlflow.db")


def absolute_uri(uri: str) -> str:
    """An address that means the same in every folder: the path of a SQLite file is made absolute."""
    if uri.startswith(SQLITE):
        return f"{SQLITE}{Path(uri.removeprefix(SQLITE)).absolute()}"
    return uri


def shown_uri(uri: str) -> str:
    """An address, or a text that holds some, without passwords, for messages and files."""
    return re.sub(r"(?<=://)([^:/@]*):[^@/]*@", r"\1:***@", uri)


@contextlib.contextmanager
def store_lock(uri: str) -> Iterator[None]:
    """Hold the lock of a SQLite store, for what must be found or else made by one process; no lock of other stores."""
    if not uri.startswith(SQLITE):
        yield
        return
    path = Path(uri.removeprefix(SQLITE))
    with file_lock(path.with_name(path.name + ".lock")):
        yield


def initialise_store(uri: str) -> None:
    """Create the tables of a fresh SQLite store: one process at a time, and whole or not at all.

    Several processes at once break a store, and so does a kill in the middle, for good: MLflow's migrations do not go
    on where they stopped. The file is therefore made under another name and renamed.
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
        for stale in path.parent.glob(f".{path.name}.new*"):
            stale.unlink()
        fresh = path.with_name(f".{path.name}.new")
        client = MlflowClient(tracking_uri=f"{SQLITE}{fresh}")
        experiment_id(client)
        with contextlib.suppress(AttributeError):  # MLflow has no public way to close its connections
            client._tracking_client.store.engine.dispose()
        fresh.replace(path)


def experiment_id(client: Any) -> str:
    """The identity of the experiment of all runs, which is made, or taken out of the bin, if need be."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(EXPERIMENT)
    if found is None:
        try:
            return str(client.create_experiment(EXPERIMENT))
        except MlflowException:  # another process was faster
            found = client.get_experiment_by_name(EXPERIMENT)
            if found is None:
                raise
    if found.lifecycle_stage != "active":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def connect(uri: str) -> Any:
    """A client of the store, which is made if it is a SQLite file that is not there.

    Settings of MLflow that are not the user's: short waits instead of minutes, no telemetry, no chatter.
    """
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", HTTP_RETRIES)
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", HTTP_SECONDS)
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    from mlflow.tracking import MlflowClient

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # Prints a traceback for each error that it also raises.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    initialise_store(uri)
    return MlflowClient(tracking_uri=uri)


def entry_run(client: Any, name: str, identity: str) -> str | None:
    """The top-level run of an entry and hash, or None: what training runs of it are children of.

    Both count: entries that are alike, such as mdm-s64 and unet-s64, have one hash and two runs.
    """
    runs = client.search_runs(
        [experiment_id(client)],
        f"tags.kind = 'entry' and tags.entry = '{name}' and tags.hash = '{identity}'",
        max_results=1,
        order_by=["attributes.start_time ASC", "attributes.run_id ASC"],
    )
    return str(runs[0].info.run_id) if runs else None


def is_refusal(error: Exception) -> bool:
    """Whether a store says that it never takes what was sent; else trying again may help.

    MLflow answers BAD_REQUEST for trouble of its database too, so that code proves nothing.
    """
    return getattr(error, "error_code", None) in ("INVALID_PARAMETER_VALUE", "RESOURCE_ALREADY_EXISTS")
