"""The folder that a command writes to, before it is created."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

from specs.addresses import shown_address

__all__ = ["check_folder", "local_output"]

#: The beginning of an address; a path has one slash for the two of an address.
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")


def local_output(path: Path | None) -> Path | None:
    """Return the path that a command writes to, for options.

    Raises:
        ValueError: It is an address. It would become folders of this name, with its password if it has one.
    """
    if path is not None and _ADDRESS.match(str(path)):
        raise ValueError(f"{shown_address(str(path))}: this is an address; files are written to paths only")
    return path


def check_folder(folder: Path) -> None:
    """Check that a folder exists or can be created, without creating it.

    Raises:
        OSError: It is a file, lies in one, or may not be written to.
    """
    existing = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
    if not existing.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "this is a file; name another folder", str(existing))
    if not os.access(existing, os.W_OK):
        raise PermissionError(errno.EACCES, "no file can be written here", str(existing))
