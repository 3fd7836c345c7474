"""Weights that are part of the package, and metadata of safetensors files, without torch."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

#: Folder of the weights that are part of the package.
WEIGHTS = Path(str(files("builders"))) / "weights"
#: Largest header in bytes, as in the safetensors library.
MAX_HEADER = 100_000_000


def shipped_weights(name: str) -> Path | None:
    """Return the path of the packaged weights of an entry, or None if there are none."""
    path = WEIGHTS / f"{name}.safetensors"
    return path if path.is_file() else None


def file_facts(path: Path) -> dict[str, str]:
    """Return the metadata of a safetensors file, without importing torch.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is not a safetensors file.
    """
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if size > MAX_HEADER:
            raise ValueError(f"{path}: not a safetensors file")
        return dict(json.loads(file.read(size)).get("__metadata__", {}))
