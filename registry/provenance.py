"""What the metadata of a weights file may open.

Metadata is written by whoever made the file. It never causes a request, and it opens only data and text encoders that
are packaged, unless the file is in the folder of its own training run. Everything else must be named by the user.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from builders.checkpoints.shipped import WEIGHTS
from builders.files import read_regular
from specs.addresses import shown_address
from specs.recipe_identity import portable_data

if TYPE_CHECKING:
    from builders.data.dataset import Dataset
    from builders.data.mixture import Mixture

__all__ = ["OwnMetadata", "is_own", "marked", "may_open", "named_data", "open_named"]

Data = str | Mapping[str, float]


class OwnMetadata(dict[str, str]):
    """Metadata of packaged weights, or of weights in the folder of the run that trained them."""


def marked(path: Path, metadata: Mapping[str, str]) -> dict[str, str]:
    """Return the metadata of a file, as :class:`OwnMetadata` if the file is packaged or in the folder of its run."""
    return OwnMetadata(_with_paths(path, metadata)) if is_own(path) else dict(metadata)


def _with_paths(path: Path, metadata: Mapping[str, str]) -> dict[str, str]:
    """Return metadata with the paths of data and text encoder, which weights do not hold, from the run's recipe."""
    result = dict(metadata)
    folder = path.absolute().parent
    for place in (folder, folder.parent):
        try:
            ours, named = json.loads(read_regular(place / "recipe.json", 2**22)), json.loads(metadata["recipe"])
            found = {key: ours[key] for key in ("data", "text_encoder") if portable_data(ours[key]) == named[key]}
        except (OSError, LookupError, ValueError, TypeError, AttributeError, RecursionError):
            continue
        if found:
            return result | {"recipe": json.dumps(named | found)}
    return result


def is_own(path: Path) -> bool:
    """Return whether a file is packaged, or in the folder of a training run, beside its state and its recipe."""
    folder = path.absolute().parent
    if folder == WEIGHTS.absolute():
        return True
    return any(
        (place / "state.safetensors").is_file() and (place / "recipe.json").is_file()
        for place in (folder, folder.parent)
    )


def may_open(metadata: Mapping[str, str], data: Data) -> bool:
    """Return whether data that metadata names may be opened: all of it is packaged, or the metadata is one's own."""
    from builders.data.dataset_card import list_datasets

    names = [data] if isinstance(data, str) else data
    return isinstance(metadata, OwnMetadata) or all(name in list_datasets() for name in names)


def open_named(metadata: Mapping[str, str], data: Data) -> Dataset | Mixture | None:
    """Open the data that metadata names; None if it may not be opened or is not available. Nothing is downloaded."""
    from builders.data.errors import DataError
    from builders.data.open import open_dataset

    if not may_open(metadata, data):
        return None
    try:
        return open_dataset(data, fetch=False)
    except (DataError, OSError):
        return None


def named_data(data: Data) -> str:
    """Return the name of data in messages."""
    return "+".join(map(shown_address, [data] if isinstance(data, str) else data))
