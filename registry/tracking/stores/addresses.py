"""Addresses of tracking stores: read and written by SQLAlchemy, so that a SQLite file may have any name."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from specs.addresses import shown_address, without_secrets

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

__all__ = [
    "StoreError",
    "absolute_uri",
    "mlflow_uri",
    "shown_uri",
    "sqlite_path",
    "sqlite_uri",
    "stored_uri",
    "tracking_uri",
]

#: Name of the SQLite file in the working folder.
DEFAULT = "mlflow.db"
#: User and password of an address in a text. SQLAlchemy's passwords may have slashes.
_PASSWORD = re.compile(r"(?<=://)([^\s/?#:@]+):(?:\S*@|[^\s/?#]*@)")


class StoreError(ValueError):
    """A store cannot be used; the message says which one, why, and what to do."""


def tracking_uri() -> str:
    """Return the address of the store: ``MLFLOW_TRACKING_URI``, or a SQLite file in the working folder.

    Raises:
        StoreError: The variable does not hold the address of a store that can be used.
    """
    named = os.environ.get("MLFLOW_TRACKING_URI", "").strip()
    return absolute_uri(named) if named else sqlite_uri(DEFAULT)


def sqlite_uri(path: str | Path) -> str:
    """Return the address of a SQLite file. Characters such as ``%``, ``?`` and ``#`` in its path are quoted.

    Raises:
        StoreError: The path is not Unicode text.
    """
    from sqlalchemy.engine import URL

    text = os.path.abspath(path)
    try:
        return URL.create("sqlite", database=text).render_as_string(hide_password=False)
    except UnicodeEncodeError:
        raise StoreError(
            f"{os.fsencode(text)!r}: the name of this folder is not UTF-8, so MLflow cannot use it; rename it, set "
            "MLFLOW_TRACKING_URI to a store elsewhere, or use --no-track"
        ) from None


def sqlite_path(uri: str) -> Path | None:
    """Return the file of a SQLite store, or None for other stores.

    Raises:
        StoreError: The address cannot be read, or is that of a database in memory.
    """
    url = _sqlite_url(uri)
    return None if url is None else Path(str(url.database))


def absolute_uri(uri: str) -> str:
    """Return an address that does not depend on the working folder: the path of a SQLite file is made absolute.

    Raises:
        StoreError: The address cannot be read, or is that of a database in memory.
    """
    url = _sqlite_url(uri)
    if url is None:
        return uri
    return url.set(database=os.path.abspath(str(url.database))).render_as_string(hide_password=False)


def mlflow_uri(uri: str) -> str:
    """Return an address in the form for MLflow.

    MLflow creates the parent folder of a file whose address starts with ``sqlite:///``, without undoing the quotes.
    With the name of the driver it does not.
    """
    return uri.replace("sqlite:", "sqlite+pysqlite:", 1) if uri.startswith("sqlite:") and "%" in uri else uri


def shown_uri(text: str) -> str:
    """Return a text with the passwords and queries of all addresses in it removed, for messages.

    The name of a user who has a password is shown.
    """
    return without_secrets(_PASSWORD.sub(r"\1:***@", text))


def stored_uri(uri: str) -> str:
    """Return an address without user, password and query, for files."""
    return shown_address(uri)


def _sqlite_url(uri: str) -> URL | None:
    if not uri.lower().startswith("sqlite"):
        return None
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(uri)
    except ArgumentError:
        raise StoreError(f"{shown_uri(uri)!r} is not an address of a store; for a file: sqlite:///FILE") from None
    if url.database in (None, "", ":memory:") or str(url.database).startswith("file:"):
        raise StoreError(f"{shown_uri(uri)}: training needs a store in a file: sqlite:///FILE")
    return url
