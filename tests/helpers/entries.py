"""Which entries of the package a test of all of them may leave to the slow run."""

from __future__ import annotations

import pytest

import zoo

__all__ = ["entries"]

#: Entries whose levels all occur in other ones, alone or nested.
REPEATED = {
    "unet-s64", "unet-s64.in1k", "mdm-s256", "mdm-s256.in1k", "mdm-s1024.in1k", "mdm-s256v", "doll-n32-deep",
    "doll-n32-wide", "flat-n32-deep", "flat-n32-wide",
}  # fmt: skip


def entries() -> list[object]:
    """Return the names of all entries as parameters of a test, those of repeated levels as slow ones."""
    return [pytest.param(name, marks=pytest.mark.slow) if name in REPEATED else name for name in zoo.list()]
