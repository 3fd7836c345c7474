"""Opening a dataset by name, path or address, or several of them as a mixture."""

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
    """The images of a dataset: ``open_dataset(name_or_path).load(resolution, split, seed=seed)``."""
    return open_dataset(name_or_path).load(resolution, split, seed=seed)


def open_dataset(what: str | Path | Mapping[str, float]) -> Dataset | Mixture:
    """Find a dataset; no image is decoded.

    Args:
        what: a packaged dataset's name; the path of a folder, of a shard, or a brace range of paths; addresses that
            fsspec reads; or several of these with weights, drawn from in these proportions.

    Raises:
        DataError: there is none, or its shards cannot be read.
        specs.errors.SpecError: its ``dataset.yaml`` is wrong.
    """
    if isinstance(what, Mapping):
        return Mixture({name: open_dataset(name) for name in what}, dict(what))  # type: ignore[misc]
    card, shards = find_dataset(what)
    return Dataset(card, shards)
