"""Decode the packaged emoji once per process: most tests train on them, and decoding takes longer than training."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from builders.data.dataset import Dataset
from tests.helpers.paths import ROOT

PACKAGED = ROOT / "builders" / "datasets"
DECODED: dict[tuple[str, str, int | None, str, int], Any] = {}
decode = Dataset._load_in_memory


def decode_once(self: Dataset, resolution: int | None, split: str, seed: int, frames: int = 1) -> Any:
    """Stand in for ``Dataset._load_in_memory``, with a cache for packaged shards, which no test changes."""
    if not all(PACKAGED in shard.parents for shards in self.shards.values() for shard in shards):
        return decode(self, resolution, split, seed, frames)
    key = (self.card.model_dump_json(), repr(self.shards), resolution, split, frames)
    if key not in DECODED:
        DECODED[key] = decode(self, resolution, split, seed, frames)
    return dataclasses.replace(DECODED[key], seed=seed)


@contextmanager
def emoji_cache() -> Iterator[None]:
    """Hold decoded emoji in memory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Dataset, "_load_in_memory", decode_once)
        yield
