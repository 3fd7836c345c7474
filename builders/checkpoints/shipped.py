"""Weights that are part of the package, and metadata of safetensors files, without torch."""

from __future__ import annotations

import json
import os
from importlib.resources import files
from pathlib import Path

from builders.files import open_regular

#: Folder of the weights that are part of the package.
WEIGHTS = Path(str(files("builders"))) / "weights"
#: Largest header in bytes.
MAX_HEADER = 20_000_000


def shipped_weights(name: str) -> Path | None:
    """Return the path of the packaged weights of an entry, or None if there are none."""
    path = WEIGHTS / f"{name}.safetensors"
    return path if path.is_file() else None


def file_facts(path: Path) -> dict[str, str]:
    """Return the metadata of a safetensors file, without importing torch.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is not a safetensors file, or its metadata are not texts by name.
    """
    with open_regular(path) as file:
        start = file.read(8)
        size = int.from_bytes(start, "little")
        if len(start) < 8 or size > min(MAX_HEADER, os.fstat(file.fileno()).st_size - 8):
            raise ValueError(f"{path}: not a safetensors file, or cut off")
        text = file.read(size)
    try:
        header = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(f"{path}: not a safetensors file: its header is not JSON") from None
    metadata = header.get("__metadata__") or {} if isinstance(header, dict) else None
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError(f"{path}: its metadata are not texts by name")
    return metadata
