"""Paths as users write them."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["expanded"]


def expanded(path: str | os.PathLike[str]) -> Path:
    """Return a path with ``~`` replaced by the home folder; unchanged if there is no such user."""
    try:
        return Path(os.path.expanduser(path))
    except ValueError:  # a null byte
        return Path(path)
