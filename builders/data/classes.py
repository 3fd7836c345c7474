"""Looking a class up by what a user calls it."""

from __future__ import annotations

from builders.data.dataset_card import DatasetCard
from builders.data.errors import DataError
from specs.errors import did_you_mean

__all__ = ["class_index"]


def class_index(card: DatasetCard, name: str) -> int:
    """Return the index of a class.

    Args:
        card: Card of the dataset, or of a mixture.
        name: Name of the class in any case, a word of it that no other name has, or the index itself.

    Raises:
        DataError: There is no such class.
    """
    if name.isdecimal() and int(name) < len(card.classes):
        return int(name)
    folded = [known.casefold() for known in card.classes]
    if name.casefold() in folded:
        return folded.index(name.casefold())
    found = [index for index, known in enumerate(folded) if name.casefold() in known.replace("&", " ").split()]
    if len(found) == 1:
        return found[0]
    raise DataError(
        f"{card.name} has no class {name!r}{did_you_mean(name, card.classes)} (its classes: {', '.join(card.classes)})"
    )
