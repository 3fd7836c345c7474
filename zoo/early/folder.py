"""The folder that a command writes to, before it is created."""

from __future__ import annotations

import errno
import os
from pathlib import Path

__all__ = ["check_folder"]


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
