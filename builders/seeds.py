"""Seeds derived from a hash, so that neighbouring numbers give unrelated random streams."""

from __future__ import annotations

import hashlib

import torch


def derived_seed(*parts: object) -> int:
    """A seed that depends on all parts and keeps neighbours apart."""
    digest = hashlib.sha256(":".join(str(part) for part in parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def hashed_generator(*parts: object) -> torch.Generator:
    """A generator seeded with :func:`derived_seed`."""
    return torch.Generator().manual_seed(derived_seed(*parts))
