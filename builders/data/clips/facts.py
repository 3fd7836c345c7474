"""What the ``.json`` of a clip says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from reprlib import repr  # cuts long values
from typing import Any

from builders.data.errors import DataError
from builders.video.limits import MAX_FRAMES

__all__ = ["ClipFacts", "parse_clip_facts"]

#: Largest rate in frames a second, and largest side in pixels.
LARGEST = 1e9


@dataclass(frozen=True, slots=True)
class ClipFacts:
    """What is known of a clip without decoding it.

    Attributes:
        frames: Number of frames; 0 if unknown.
        rate: Frames a second; None if unknown.
        scale: Shorter side of the original in pixels; None if unknown.
        sha256: Hash of its bytes; "" if unknown.
    """

    frames: int = 0
    rate: float | None = None
    scale: float | None = None
    sha256: str = ""


def parse_clip_facts(facts: Mapping[str, Any], where: str) -> ClipFacts:
    """Return the facts of a clip.

    Args:
        facts: Content of its ``.json``.
        where: Name of the sample in messages.

    Raises:
        DataError: A fact has the wrong type.
    """
    frames, sha256 = facts.get("frames") or 0, facts.get("sha256") or ""
    if not isinstance(frames, int) or isinstance(frames, bool) or not 0 <= frames <= MAX_FRAMES:
        raise DataError(f"{where}: 'frames' is {repr(frames)}; it must be a whole number of at most {MAX_FRAMES:,}")
    if not isinstance(sha256, str):
        raise DataError(f"{where}: 'sha256' is {repr(sha256)}; it must be a text")
    return ClipFacts(frames, _number(facts, "rate", where), _number(facts, "scale", where), sha256.lower())


def _number(facts: Mapping[str, Any], name: str, where: str) -> float | None:
    value = facts.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= LARGEST:
        raise DataError(f"{where}: {name!r} is {repr(value)}; it must be a positive number")
    return float(value)
