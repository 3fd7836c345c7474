"""What the ``.json`` of a clip says."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from builders.data.errors import DataError

__all__ = ["ClipFacts", "parse_clip_facts"]


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
    if not isinstance(frames, int) or isinstance(frames, bool) or frames < 0:
        raise DataError(f"{where}: 'frames' is {frames!r}; it must be a whole number")
    if not isinstance(sha256, str):
        raise DataError(f"{where}: 'sha256' is {sha256!r}; it must be a text")
    return ClipFacts(frames, _number(facts, "rate", where), _number(facts, "scale", where), sha256.lower())


def _number(facts: Mapping[str, Any], name: str, where: str) -> float | None:
    value = facts.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise DataError(f"{where}: {name!r} is {value!r}; it must be a positive number")
    return float(value)
