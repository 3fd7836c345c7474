"""The train/validation split by a hash, for data sets that have no splits of their own."""

from __future__ import annotations

import hashlib

HELD_OUT = 0.1


def is_held_out(group: str) -> bool:
    """Whether samples of this group are held out, where a dataset has no splits of its own: about one in ten."""
    digest = hashlib.sha256(group.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") < HELD_OUT * 2**64
