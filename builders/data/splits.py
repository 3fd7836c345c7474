"""The split into train and val by a hash, for datasets without splits of their own."""

from __future__ import annotations

import hashlib

#: Share of the samples in the validation split.
HELD_OUT = 0.1


def is_held_out(group: str) -> bool:
    """Return whether the samples of a group are in the validation split."""
    digest = hashlib.sha256(group.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") < HELD_OUT * 2**64
