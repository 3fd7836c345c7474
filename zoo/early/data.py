"""The data of a request: whether it exists, and what is known of it without reading its shards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from specs.user_paths import expanded as expand_home

if TYPE_CHECKING:
    from builders.data.dataset_card import DatasetCard
    from specs.graph import EntryGraph
    from specs.schemas.recipe import Recipe

__all__ = ["check_classes", "check_data", "known_card"]


def check_data(data: str | Mapping[str, float] | None) -> None:
    """Check that data exists, without reading its shards.

    Args:
        data: Name or path of a dataset, or several with weights. Addresses are not opened.

    Raises:
        DataError: There is no such dataset.
        SpecError: Its ``dataset.yaml`` is wrong.
    """
    from builders.data.dataset_card import find_dataset
    from builders.data.recognition.file_kinds import PACKABLE
    from builders.data.recognition.formats import extension_of
    from builders.data.urls import is_address

    for name in [] if data is None else [data] if isinstance(data, str) else data:
        path = expand_home(name)
        missing = not path.exists() and "{" not in name
        table = path.is_file() and extension_of(path.name) in PACKABLE
        if not is_address(name) and known_card(name) is None and (missing or table):
            find_dataset(name)  # raises with the names that there are


def check_classes(graph: EntryGraph, recipe: Recipe) -> None:
    """Check that an entry has as many classes as the data of a recipe, if the number is known without its shards.

    Raises:
        TrainingError: It has another number.
    """
    from builders.training.starting.entry import check_entry

    card = known_card(recipe.data) if isinstance(recipe.data, str) else None
    if card is not None and card.classes:
        check_entry(graph, len(card.classes), recipe.data_name)


def known_card(name: str) -> DatasetCard | None:
    """Return the card of a dataset that has a file with it; None for shards alone and for addresses.

    Raises:
        SpecError: Its ``dataset.yaml`` is wrong.
    """
    from builders.data.dataset_card import CARD, find_dataset, list_datasets

    if name in list_datasets() or (expand_home(name) / CARD).is_file():
        return find_dataset(name)[0]
    return None
