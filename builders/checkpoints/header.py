"""Headers of safetensors files: names, types and metadata, checked before anything else is read. Imports no torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from builders.checkpoints.file_kinds import SAFETENSORS, START, describe_weights, kind_of
from builders.files import open_regular

__all__ = ["MAX_HEADER", "CheckpointError", "check_complete", "read_header", "read_metadata"]

#: Largest header in bytes. That of a network of half a billion parameters has 200 kB.
MAX_HEADER = 8_000_000


class CheckpointError(ValueError):
    """A checkpoint cannot be written or read, or has the wrong contents."""


def read_header(path: str | Path) -> dict[str, Any]:
    """Return the header of a safetensors file.

    Raises:
        CheckpointError: The file is missing or cannot be read, or is no safetensors file; the message says what it is.
    """
    try:
        with open_regular(path) as file:
            start = file.read(START)
            if kind_of(start) != SAFETENSORS:
                raise CheckpointError(f"{path}: {_other(path)}")
            size = int.from_bytes(start[:8], "little")
            if size > MAX_HEADER:
                raise CheckpointError(f"{path}: a header of {size:,} bytes; at most {MAX_HEADER:,} are read")
            file.seek(8)
            text = file.read(size)
    except IsADirectoryError:
        raise CheckpointError(f"{path}: no such checkpoint: this is a folder; give a file in it") from None
    except (FileNotFoundError, NotADirectoryError):
        raise CheckpointError(f"{path}: no such checkpoint") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error})") from None
    if len(text) < size:
        raise CheckpointError(f"{path}: truncated: its header has {size:,} bytes, the file {len(text):,}")
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise CheckpointError(f"{path}: not a safetensors file: its header is not JSON ({reason[:200]})") from None
    if not isinstance(header, dict):
        raise CheckpointError(f"{path}: not a safetensors file: its header is no mapping")
    return header


def read_metadata(path: str | Path) -> dict[str, str]:
    """Return the metadata of a safetensors file.

    Raises:
        CheckpointError: As for :func:`read_header`, or the metadata is not texts by name.
    """
    found = read_header(path).get("__metadata__")
    if found is None:
        return {}
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise CheckpointError(f"{path}: its metadata is not a mapping of names to texts")
    return found


def check_complete(path: str | Path) -> None:
    """Check that a safetensors file has all bytes of its tensors, without reading them.

    Raises:
        CheckpointError: It has not, or as for :func:`read_header`.
    """
    header = read_header(path)
    tensors = [value for name, value in header.items() if name != "__metadata__"]
    places = [each.get("data_offsets") for each in tensors if isinstance(each, dict)]
    ends = [place[1] for place in places if isinstance(place, list) and len(place) == 2 and isinstance(place[1], int)]
    needed = max(ends, default=0)
    with open_regular(path) as file:
        start = int.from_bytes(file.read(8), "little") + 8
        size = file.seek(0, 2)
    if size < start + needed:
        raise CheckpointError(f"{path}: truncated: its tensors end at byte {start + needed:,}, the file at {size:,}")


def _other(path: str | Path) -> str:
    """Say what a file is that is no safetensors file."""
    found = describe_weights(path)
    return f"truncated or not a safetensors file{f': this is {found}' if found else ''}"
