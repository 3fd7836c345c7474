"""What a run has to tell a tracking store, on disk: lines that are only ever appended, and how far each store has them.

``spool.jsonl`` holds one JSON object a line. ``sent.json`` says for each store which run it is there, up to which byte
of the spool it has everything, and which lines before that it did not take.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from builders.files import write_text

__all__ = ["Line", "SentState", "Spool"]

#: Bytes read at once.
CHUNK = 1 << 18


@dataclass(frozen=True, slots=True)
class Line:
    """A record of the spool, and the bytes it stands at."""

    start: int
    end: int
    record: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SentState:
    """What one store has of a spool.

    ``refused`` are the starts of lines before ``offset`` that the store did not take; ``end`` is the whole of it.
    """

    run_id: str
    offset: int = 0
    refused: tuple[int, ...] = ()


class Spool:
    """The spool of a run; one process appends, one sends.

    Args:
        folder: of the training run; files stand in its ``tracking/``.

    Raises:
        OSError: on appending or acknowledging, if the disk does not take it; what was there before stays whole.
    """

    def __init__(self, folder: Path) -> None:
        self.run_folder = folder
        self.folder = folder / "tracking"
        self.path = self.folder / "spool.jsonl"
        self.sent_path = self.folder / "sent.json"
        self._file: int | None = None
        self._size = 0

    def open(self) -> None:
        """Open for appending; a line that a kill cut short is taken away."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        self._size = self._whole_lines()
        os.ftruncate(self._file, self._size)

    def append(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Add records: all of them or, with an OSError, none."""
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
        """Have the disk take what was appended."""
        if self._file is not None:
            os.fsync(self._file)
            os.close(self._file)
            self._file = None

    def size(self) -> int:
        """Bytes of the spool, a last line that is not complete included."""
        return self.path.stat().st_size if self.path.is_file() else 0

    def lines(self, start: int = 0) -> Iterator[Line]:
        """The complete lines from a byte on; one that cannot be read is passed over."""
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
                except ValueError:
                    record = None
                if isinstance(record, dict):
                    yield Line(start, end, record)
                start = end

    def sent(self, store: str) -> SentState | None:
        """What a store has, or None if nothing was ever sent there."""
        facts = self._all_sent().get(store)
        if not isinstance(facts, dict):
            return None
        offset = int(facts.get("offset", 0))
        if offset > self.size():  # a spool of another run, or one that lost its end
            offset = 0
        return SentState(str(facts["run_id"]), offset, tuple(facts.get("refused", ())))

    def acknowledge(self, store: str, state: SentState) -> None:
        """Write down what a store has."""
        everything = self._all_sent() | {store: asdict(state)}
        write_text(self.sent_path, json.dumps(everything, indent=2) + "\n")

    def _all_sent(self) -> dict[str, Any]:
        try:
            found = json.loads(self.sent_path.read_text())
        except (OSError, ValueError):  # nothing sent, or not known: sending again is harmless
            return {}
        return found if isinstance(found, dict) else {}

    def _whole_lines(self) -> int:
        """The byte after the last line break."""
        assert self._file is not None
        end = os.fstat(self._file).st_size
        while end > 0:
            start = max(0, end - CHUNK)
            found = os.pread(self._file, end - start, start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            end = start
        return 0
