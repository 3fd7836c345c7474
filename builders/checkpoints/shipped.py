"""Weights that are part of the package, and metadata of safetensors files, without torch."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from builders.checkpoints.header import read_metadata

#: Folder of the weights that are part of the package.
WEIGHTS = Path(str(files("builders"))) / "weights"


def shipped_weights(name: str) -> Path | None:
    """Return the path of the packaged weights of an entry, or None if there are none."""
    path = WEIGHTS / f"{name}.safetensors"
    return path if path.is_file() else None


def file_facts(path: Path) -> dict[str, str]:
    """Return the metadata of a safetensors file, without importing torch.

    Raises:
        CheckpointError: The file cannot be read, or is no safetensors file.
    """
    return read_metadata(path)
