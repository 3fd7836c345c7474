"""The spool of a training run: its records for tracking stores in an append-only file, and how far each store is.

``spool.jsonl`` has one JSON object per line. ``sent.json`` says per store which run it is there, up to which byte of
the spool everything was sent, and which lines before that were rejected.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from builders.files import read_regular, write_text
from registry.tracking.records import Record, is_record

__all__ = ["Line", "Record", "SentState", "Spool"]

#: Bytes per read.
CHUNK = 1 << 18
#: Largest ``sent.json`` in bytes.
MAX_SENT = 10_000_000


@dataclass(frozen=True, slots=True)
class Line:
    """A record of the spool, with the offsets of its first byte and of the byte after it."""

    start: int
    end: int
    record: Record


@dataclass(frozen=True, slots=True)
class SentState:
    """What one store has of a spool.

    Attributes:
        run_id: Identifier of the MLflow run.
        offset: Offset up to which all lines were sent.
        refused: Offsets of the lines before it that the store rejected.
    """

    run_id: str
    offset: int = 0
    refused: tuple[int, ...] = ()


class Spool:
    """The spool of a run. One thread appends to it and one sends it.

    Args:
        folder: Folder of the training run. The files of the spool are in its subfolder ``tracking``.
    """

    def __init__(self, folder: Path) -> None:
        self.run_folder = folder
        self.folder = folder / "tracking"
        self.path = self.folder / "spool.jsonl"
        self.sent_path = self.folder / "sent.json"
        self._file: int | None = None
        self._size = 0

    def open(self) -> None:
        """Open the spool for appending; a line that a kill left incomplete is removed.

        Raises:
            OSError: The file cannot be opened, or is a link or no regular file.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        flags = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | flags, 0o644)
        if not stat.S_ISREG(os.fstat(self._file).st_mode):
            os.close(self._file)
            self._file = None
            raise OSError(errno.EINVAL, "not a regular file", str(self.path))
        self._size = self._whole_lines()
        os.ftruncate(self._file, self._size)

    def append(self, records: Sequence[Record]) -> None:
        """Append records.

        Raises:
            OSError: The disk is full or fails. None of the records was appended.
        """
        if self._file is None:
            self.open()
        assert self._file is not None
        data = "".join(json.dumps(record, allow_nan=False) + "\n" for record in records).encode()
        try:
            written = 0
            while written < len(data):
                written += os.pwrite(self._file, data[written:], self._size + written)
        except OSError:
            os.ftruncate(self._file, self._size)
            raise
        self._size += len(data)

    def close(self) -> None:
        """Flush the spool to disk and close it."""
        if self._file is not None:
            os.fsync(self._file)
            os.close(self._file)
            self._file = None

    def size(self) -> int:
        """Return the size of the spool in bytes, including a last line that is incomplete."""
        return self.path.stat().st_size if self.path.is_file() else 0

    def lines(self, start: int = 0) -> Iterator[Line]:
        """Yield the complete lines from an offset on; lines that are no records are skipped."""
        if not self.path.is_file():
            return
        with self.path.open("rb", buffering=CHUNK) as file:
            file.seek(start)
            for data in file:
                if not data.endswith(b"\n"):
                    return
                end = start + len(data)
                try:
                    record = json.loads(data)
                except (ValueError, RecursionError):
                    record = None
                if is_record(record):
                    yield Line(start, end, record)
                start = end

    def sent(self, store: str) -> SentState | None:
        """Return what a store has, or None if nothing was sent there."""
        try:
            facts = self._all_sent()[store]
            offset, refused = int(facts["offset"]), tuple(map(int, facts.get("refused", ())))
            run_id = str(facts["run_id"])
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            return None  # nothing was sent, or it is not known
        # The spool of another run, or a truncated one.
        return SentState(run_id, offset if 0 <= offset <= self.size() else 0, refused)

    def acknowledge(self, store: str, state: SentState) -> None:
        """Save what a store has."""
        everything = self._all_sent() | {store: asdict(state)}
        write_text(self.sent_path, json.dumps(everything, indent=2) + "\n")

    def _all_sent(self) -> dict[str, Any]:
        try:
            found = json.loads(read_regular(self.sent_path, MAX_SENT))
        except (OSError, ValueError, RecursionError):  # nothing was sent, or it is not known: sending again is harmless
            return {}
        return found if isinstance(found, dict) else {}

    def _whole_lines(self) -> int:
        """Return the offset after the last line break."""
        assert self._file is not None
        end = os.fstat(self._file).st_size
        while end > 0:
            start = max(0, end - CHUNK)
            found = os.pread(self._file, end - start, start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            end = start
        return 0
