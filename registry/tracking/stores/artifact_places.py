"""Where a SQLite store has its artifacts. MLflow records absolute paths, which are wrong after the folder was moved.

A store is moved or copied if it records artifacts in the ``mlruns`` of another folder that does not exist any more, or
that has a store of its own. New runs then use the ``mlruns`` beside the store; :func:`repair_store` corrects the
others.
"""

from __future__ import annotations

import contextlib
import sqlite3
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from registry.tracking.stores.addresses import StoreError, sqlite_path

__all__ = ["MovedStore", "Repair", "check_artifacts", "follow_store", "repair_store"]

ARTIFACTS = "mlruns"
#: Tables and columns that hold the location of artifacts, and which of their rows.
_COLUMNS = (
    ("experiments", "artifact_location", ""),
    ("runs", "artifact_uri", ""),
    ("logged_models", "artifact_location", ""),
    ("model_versions", "source", ""),
    ("model_versions", "storage_location", ""),
    ("trace_tags", "value", " AND key = 'mlflow.artifactLocation'"),
)
#: Seconds to wait for other processes that write to the store.
PATIENCE = 30.0


class MovedArtifactsError(FileNotFoundError):
    """The artifacts of a run are recorded in a folder that the store is not in any more."""


@dataclass(frozen=True, slots=True)
class MovedStore:
    """A store that was moved or copied.

    Attributes:
        path: File of the store.
        places: Folders that it was in before.
        runs: Number of runs whose artifacts are recorded there.
    """

    path: Path
    places: tuple[Path, ...]
    runs: int

    def __str__(self) -> str:
        where = ", ".join(map(str, self.places))
        runs = f"{self.runs} run" + "s" * (self.runs != 1)
        return (
            f"{self.path} was moved or copied from {where}: artifacts of new runs are written to "
            f"{self.path.parent / ARTIFACTS}, but those of {runs} are recorded in the old folder; "
            "to correct this: zoo track --repair"
        )


@dataclass(frozen=True, slots=True)
class Repair:
    """A corrected store.

    Attributes:
        path: File of the store.
        places: Folders that artifacts were recorded in before.
        changed: Number of corrected locations by table.
    """

    path: Path
    places: tuple[Path, ...]
    changed: dict[str, int]


def follow_store(path: Path) -> MovedStore | None:
    """Let new runs of a store that was moved write their artifacts beside it.

    Args:
        path: File of the store.

    Returns:
        The store, if runs have their artifacts in the old folder; None otherwise.
    """
    with _open(path) as database:
        old = [each for each in _locations(database, path) if each.table in ("experiments", "runs")]
        experiments = [each for each in old if each.table == "experiments"]
        with contextlib.suppress(sqlite3.OperationalError):  # a store that is read-only gets no new runs
            _correct(database, experiments)
    runs = [each for each in old if each.table == "runs"]
    places = tuple(dict.fromkeys(each.place for each in runs))
    return MovedStore(path, places, len(runs)) if runs else None


def repair_store(uri: str) -> Repair:
    """Correct the locations of artifacts in a store that was moved or copied.

    Args:
        uri: Address of a SQLite store.

    Raises:
        StoreError: The store is not a SQLite file that exists, or its artifacts were not moved along.
        sqlite3.Error: The store is damaged or cannot be written.
    """
    path = sqlite_path(uri)
    if path is None:
        raise StoreError("only a SQLite store can be repaired; a server knows itself where its artifacts are")
    if not path.is_file():
        raise StoreError(f"{path}: no such store")
    with _open(path) as database:
        old = list(_locations(database, path))
        places = tuple(dict.fromkeys(each.place for each in old))
        if any(each.table == "runs" for each in old) and not (path.parent / ARTIFACTS).is_dir():
            where = ", ".join(map(str, places))
            raise StoreError(f"{path.parent}: no folder {ARTIFACTS} here; move or copy that of {where} here first")
        _correct(database, old)
    changed: dict[str, int] = {}
    for each in old:
        changed[each.table] = changed.get(each.table, 0) + 1
    return Repair(path, places, changed)


def check_artifacts(client: Any, run: Any) -> None:
    """Check that the artifacts of a run are not in a folder that its store was moved away from.

    Args:
        client: MLflow client of the store.
        run: MLflow run.

    Raises:
        MovedArtifactsError: They are. MLflow would create the old folder again.
    """
    path = sqlite_path(client.tracking_uri)
    place = None if path is None else _old_place(run.info.artifact_uri, path)
    if place is not None:
        raise MovedArtifactsError(
            f"the artifacts of this run are recorded in {place}, where the store is not any more; "
            "run 'zoo track --repair'"
        )


@dataclass(frozen=True, slots=True)
class _Location:
    """A location of artifacts in the database that is not right any more."""

    table: str
    column: str
    row: int
    place: Path
    right: str


@contextlib.contextmanager
def _open(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a database that exists, and commit at the end, or undo everything after an error."""
    address = f"{path.as_uri()}?mode=rw"
    with contextlib.closing(sqlite3.connect(address, timeout=PATIENCE, uri=True)) as database, database:
        yield database


def _locations(database: sqlite3.Connection, path: Path) -> Iterator[_Location]:
    """Yield the locations to correct."""
    tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    for table, column, condition in _COLUMNS:
        if table not in tables:
            continue
        query = f"SELECT rowid, {column} FROM {table} WHERE {column} IS NOT NULL{condition}"
        for row, location in database.execute(query).fetchall():
            place = _old_place(location, path)
            if place is not None:
                right = path.parent / _local(location).relative_to(place)
                yield _Location(table, column, row, place, right.as_uri())


def _correct(database: sqlite3.Connection, locations: list[_Location]) -> None:
    for each in locations:
        database.execute(f"UPDATE {each.table} SET {each.column} = ? WHERE rowid = ?", (each.right, each.row))


def _local(location: str) -> Path:
    """Return the path of a location, as MLflow reads it: it undoes quotes in plain paths too."""
    return Path(urllib.request.url2pathname(urlsplit(location).path if location.startswith("file:") else location))


def _old_place(location: str, path: Path) -> Path | None:
    """Return the folder that a store was in when it recorded a location; None if the location is still right."""
    if not location.startswith(("file:", "/")):
        return None
    parts, home = _local(location).parts, path.parent
    if ARTIFACTS not in parts:  # a place that the user chose
        return None
    place = Path(*parts[: len(parts) - 1 - parts[::-1].index(ARTIFACTS)])
    if not place.exists():
        return place
    if place.samefile(home):
        return None
    other = place / path.name
    return place if other.is_file() and not other.samefile(path) else None
