"""Images in tar files that a table lists by archive and name."""

from __future__ import annotations

import tarfile
from pathlib import Path

from builders.data.errors import DataError
from builders.data.shards import check_shard
from specs.errors import quote

__all__ = ["TarMembers"]


class TarMembers:
    """Positions of the files in tar files, each of which is read once."""

    def __init__(self) -> None:
        self._positions: dict[Path, dict[str, tuple[int, int]] | str] = {}

    def find(self, path: Path, name: str) -> tuple[int, int]:
        """Return the position of a file in a tar file, and its size in bytes.

        Raises:
            DataError: The tar file cannot be read, is compressed or has no such file.
        """
        if path not in self._positions:
            try:
                self._positions[path] = _positions(path)
            except DataError as error:
                self._positions[path] = str(error)
        found = self._positions[path]
        if isinstance(found, str):
            raise DataError(found)
        if name not in found:
            raise DataError(f"{path} has no file {quote(name)}")
        return found[name]


def _positions(path: Path) -> dict[str, tuple[int, int]]:
    check_shard(path)
    try:
        with tarfile.open(path, "r:") as tar:
            return {info.name: (info.offset_data, info.size) for info in tar if info.isreg() and not info.issparse()}
    except (tarfile.TarError, OSError, EOFError):
        raise DataError(f"{path}: compressed tar files cannot be read by name; decompress it") from None
