"""The weights that come with the package, and reading a file's metadata without torch."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

#: Folder of the weights that come with the package.
WEIGHTS = Path(str(files("builders"))) / "weights"
#: As the format's own library has it.
MAX_HEADER = 100_000_000


def shipped_weights(name: str) -> Path | None:
    """The weights of an entry that come with the package, if there are any."""
    path = WEIGHTS / f"{name}.safetensors"
    return path if path.is_file() else None


def file_facts(path: Path) -> dict[str, str]:
    """What a safetensors file says of itself; torch-free.

    Raises:
        OSError: it cannot be read.
        ValueError: it is none.
    """
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if size > MAX_HEADER:
            raise ValueError(f"{path}: not a safetensors file")
        return dict(json.loads(file.read(size)).get("__metadata__", {}))
