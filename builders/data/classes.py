"""Class names and their indices."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from builders.data.dataset_card import DatasetCard
from builders.data.errors import DataError
from specs.errors import did_you_mean

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["class_index", "class_indices"]


def class_index(card: DatasetCard, name: str) -> int:
    """Return the index of a class.

    Args:
        card: Card of the dataset, or of a mixture.
        name: Name of the class in any case, a word that only its name contains, or the index.

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


def class_indices(card: DatasetCard, names: Iterable[str | None]) -> Tensor:
    """Return the indices of classes (N,) int64; unknown names have the index ``len(card.classes)``."""
    import torch

    indices = {name: index for index, name in enumerate(card.classes)}
    return torch.tensor([indices.get(name, len(indices)) for name in names], dtype=torch.int64)  # type: ignore[arg-type]
