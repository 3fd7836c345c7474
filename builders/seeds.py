"""Seeds derived from a hash, so that consecutive numbers give unrelated random streams."""

from __future__ import annotations

import hashlib

import torch


def derived_seed(*parts: object) -> int:
    """Return a seed in 0..2^63 - 1 from a hash of all parts, written as text."""
    digest = hashlib.sha256(":".join(str(part) for part in parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def hashed_generator(*parts: object) -> torch.Generator:
    """Return a generator seeded with :func:`derived_seed`."""
    return torch.Generator().manual_seed(derived_seed(*parts))
