"""Opening a dataset by name, path or address, or several as a mixture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from builders.data.dataset import Dataset
from builders.data.dataset_card import find_dataset
from builders.data.images import Images
from builders.data.mixture import Mixture

__all__ = ["open_data", "open_dataset"]


def open_data(
    name_or_path: str | Path, resolution: int | None = None, split: str = "train", *, seed: int = 0
) -> Images:
    """Load a split of a dataset: ``open_dataset(name_or_path).load(resolution, split, seed=seed)``."""
    return open_dataset(name_or_path).load(resolution, split, seed=seed)


def open_dataset(what: str | Path | Mapping[str, float], *, fetch: bool = True) -> Dataset | Mixture:
    """Open a dataset without decoding images.

    Args:
        what: Name of a packaged dataset; path of a folder, of a shard or of a brace range of shards; addresses that
            fsspec reads; or several of these with weights, ``{name_or_path: weight}``.
        fetch: Whether shards at addresses may be downloaded; otherwise they must be in the cache.

    Raises:
        DataError: There is no such dataset, or its shards cannot be read.
        specs.errors.SpecError: Its ``dataset.yaml`` is wrong.
    """
    if isinstance(what, Mapping):
        return Mixture({name: open_dataset(name, fetch=fetch) for name in what}, dict(what))  # type: ignore[misc]
    card, shards = find_dataset(what, fetch=fetch)
    return Dataset(card, shards)
