"""Class names and their indices."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

from builders.data.dataset_card import DatasetCard, whole_number
from builders.data.errors import DataError
from specs.errors import did_you_mean
from specs.printable import printable

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ClassNames", "class_index", "class_indices", "relabelled", "sorted_as_text", "with_classes"]


class Labelled(Protocol):
    """Data with a card that names its classes: a dataset or a mixture."""

    @property
    def card(self) -> DatasetCard:
        """Card with the names of the classes."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, by index."""
        ...


Data = TypeVar("Data", bound=Labelled)


@dataclass(frozen=True)
class ClassNames:
    """Names of classes by index, without their dataset: those that weights were trained with.

    Attributes:
        name: Name of the weights or of the dataset, for messages.
        classes: Names of the classes, by index.
    """

    name: str
    classes: tuple[str, ...]

    def class_index(self, name: str | int) -> int:
        """Return the index of a class; see :func:`class_index`."""
        return class_index(self, name)

    @staticmethod
    def parse(text: str, name: str) -> ClassNames | None:
        """Return the names in the metadata of weights, a JSON list; None if it is anything else."""
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            return None
        good = isinstance(found, list) and bool(found) and all(isinstance(each, str) for each in found)
        return ClassNames(name, tuple(found)) if good else None


def class_index(card: DatasetCard | ClassNames, name: str | int) -> int:
    """Return the index of a class.

    Args:
        card: Card of the dataset or of a mixture, or the names alone.
        name: Name of the class in any case, a whole number with the value of its name, a word that only its name
            contains, or else the index if no class is called by a whole number. A name wins over an index.

    Raises:
        DataError: There is no such class.
    """
    name = str(name)
    found = next((found for found in map(tuple, _named(card.classes, name)) if found), ())
    if len(found) == 1:
        return found[0]
    index = whole_number(name)
    numbered = any(whole_number(known) is not None for known in card.classes)
    if not found and not numbered and index is not None and 0 <= index < len(card.classes):
        return index
    shown = printable(", ".join(card.classes))
    raise DataError(f"{card.name} has no class {name!r}{_class_hint(card.classes, name)} (its classes: {shown})")


def _class_hint(classes: Sequence[str], name: str) -> str:
    """Return what to write instead of a name or an index that no class has."""
    index = whole_number(name)
    if index is not None and not 0 <= index < len(classes):
        return f"; indices are from 0 to {len(classes) - 1}"
    parts = [part.strip() for part in name.split(",")]
    if len(parts) > 1 and all(any(found for found in map(tuple, _named(classes, part)) if found) for part in parts):
        return "; name each class separately"
    return did_you_mean(name, classes)


def _named(classes: Sequence[str], name: str) -> Iterator[Iterator[int]]:
    """Yield the indices of the classes that a name fits, the best fits first."""
    folded, number = name.casefold(), whole_number(name)
    yield (index for index, known in enumerate(classes) if known == name)
    yield (index for index, known in enumerate(classes) if known.casefold() == folded)
    yield (index for index, known in enumerate(classes) if number is not None and whole_number(known) == number)
    yield (index for index, known in enumerate(classes) if folded in known.casefold().replace("&", " ").split())


def with_classes(data: Data, classes: Sequence[str]) -> Data:
    """Return a dataset or a mixture with its classes in another order; unchanged if the names differ.

    Args:
        data: Dataset or mixture.
        classes: Names of the classes by index, such as those that weights were trained with.
    """
    if tuple(classes) == data.classes or sorted(classes) != sorted(data.classes):
        return data
    return relabelled(data, classes)


def relabelled(data: Data, classes: Sequence[str]) -> Data:
    """Return a dataset or a mixture whose labels are looked up among other classes; other labels are unknown.

    Args:
        data: Dataset or mixture.
        classes: Names of the classes by index.
    """
    changed = copy.copy(data)
    object.__setattr__(changed, "card", data.card.model_copy(update={"classes": tuple(classes)}))
    return changed


def sorted_as_text(data: Data) -> Data:
    """Return a dataset with the labels of its shards sorted as text, as versions before 0.2 did with numbers.

    Classes that a ``dataset.yaml`` lists keep their order. Those of a mixture follow its datasets.
    """
    sets = getattr(data, "sets", None)
    if sets is None:
        return with_classes(data, sorted(data.classes)) if data.card.from_labels else data
    names = dict.fromkeys(name for each in sets.values() for name in sorted_as_text(each).classes)
    return with_classes(data, tuple(names))


def class_indices(card: DatasetCard, names: Iterable[str | None]) -> Tensor:
    """Return the indices of classes (N,) int64; unknown names have the index ``len(card.classes)``."""
    import torch

    indices = {name: index for index, name in enumerate(card.classes)}
    return torch.tensor([indices.get(name, len(indices)) for name in names], dtype=torch.int64)  # type: ignore[arg-type]
