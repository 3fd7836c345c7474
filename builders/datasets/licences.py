"""Licences of installed packages, read in the packages themselves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from builders.data.errors import DataError

__all__ = ["licence_text", "package_facts"]


def package_facts(folder: Path, name: str = "package.json") -> dict[str, Any]:
    """Return the content of a JSON file of an npm package.

    Args:
        folder: Folder of the package.
        name: File in it that holds a JSON object.

    Raises:
        DataError: It is missing or no JSON object.
    """
    try:
        found = json.loads((folder / name).read_text("utf-8"))
    except FileNotFoundError:
        raise DataError(f"{folder / name}: no such file; install the packages first (npm install)") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{folder / name}: cannot be read as JSON: {error}") from None
    if not isinstance(found, dict):
        raise DataError(f"{folder / name}: not a JSON object")
    return found


def licence_text(path: Path, heading: str) -> str:
    """Return the text of a licence file.

    Args:
        path: The file.
        heading: Words that the licence has; others are not free to use here.

    Raises:
        DataError: The file is missing or has not these words.
    """
    try:
        text = path.read_text("utf-8").strip()
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: the licence cannot be read: {error}") from None
    if heading.lower() not in text.lower():
        raise DataError(f"{path}: not the {heading}; leave this package out")
    return text
