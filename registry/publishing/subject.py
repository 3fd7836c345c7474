"""What a model card describes: an entry of the zoo, an entry in a file, or the weights of a run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builders.checkpoints.header import check_complete
from registry.provenance import marked, may_open, named_data
from registry.weights import data_of, file_facts, find_weights, recipe_of
from specs.errors import SpecError
from specs.recipe_identity import portable_data

if TYPE_CHECKING:
    from registry.entry import Entry

__all__ = ["Subject", "entry_subject", "is_weights", "weights_subject"]


@dataclass(frozen=True)
class Subject:
    """An entry, and how it is reached.

    Attributes:
        entry: Entry.
        use: Name, file or folder that the commands and ``zoo.get``, ``zoo.load`` take; None for an entry that was
            changed by overrides and is in no file.
        packaged: Whether the entry, or its weights, come with the package.
        weights: File of the weights; None if there are none.
        metadata: Metadata of the weights.
        recipe: Recipe of the weights as plain data; empty if it is unknown.
    """

    entry: Entry
    use: str | None
    packaged: bool
    weights: Path | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)

    @property
    def data(self) -> str:
        """Names of the training data, joined by plus signs, without the folders of this machine; empty if unknown."""
        named = data_of(self.metadata)
        return named_data(portable_data(named)) if named else ""

    @property
    def images(self) -> str:
        """Names of the data under ``images`` of the recipe, like :attr:`data`; empty if there is none."""
        named = data_of(self.metadata, "images")
        return named_data(portable_data(named)) if named else ""

    @property
    def may_open(self) -> bool:
        """Whether the training data may be opened: it is packaged, or named by the folder of a run."""
        named = [found for key in ("data", "images") if (found := data_of(self.metadata, key))]
        return bool(named) and all(may_open(self.metadata, each) for each in named)


def entry_subject(entry: Entry) -> Subject:
    """Return an entry with the weights in the package, if there are some that fit it."""
    from registry.catalogue import get
    from specs import library

    try:
        named = get(entry.name)
    except (LookupError, SpecError):
        named = None
    use = entry.name if named == entry else None
    packaged = named == entry and any(path.is_relative_to(library.PACKAGED) for path in entry.sources[:1])
    if use is None and entry.sources:
        try:
            use = os.fspath(entry.sources[0]) if get(entry.sources[0]) == entry else None
        except (LookupError, SpecError):
            use = None
    weights = entry.weights
    if weights is None or not packaged:
        return Subject(entry, use, packaged)
    metadata = file_facts(weights)
    return Subject(entry, use, packaged, weights, metadata, recipe_of(metadata))


def is_weights(what: str) -> bool:
    """Return whether this is a file of weights or a folder, rather than an entry."""
    return what.endswith(".safetensors") or os.path.isdir(what)


def weights_subject(what: str) -> Subject:
    """Return the weights in a file, or the newest ones in the folder of a run, without importing torch.

    Raises:
        ValueError: There are no weights, or their spec cannot be read.
        OSError: The file cannot be read.
    """
    from registry.entry import Entry
    from specs.load import load_text

    path = find_weights(what)
    check_complete(path)
    metadata = marked(path, file_facts(path))
    if metadata.get("kind") != "weights" or not isinstance(metadata.get("spec"), str):
        raise ValueError(f"{path}: not a weights file of this zoo")
    entry = Entry(load_text(metadata["spec"], f"{path} (spec)", saved=True))
    return Subject(entry, what, False, path, metadata, recipe_of(metadata))
