"""Packs of small shards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from builders.data.packing.pack import Packed, pack
from builders.data.packing.shard import PackSettings
from builders.data.packing.sources import find_sources


def packed(folder: Path, out: Path, **options: Any) -> Packed:
    """Pack a folder, ten samples per shard."""
    return pack(find_sources(folder), out, "mine", PackSettings(**({"samples_per_shard": 10} | options)))
