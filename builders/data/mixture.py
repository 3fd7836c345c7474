"""Several datasets drawn from in given proportions."""

from __future__ import annotations

import math
import warnings
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from builders.data.classes import class_index
from builders.data.dataset_card import DatasetCard
from builders.data.errors import DataError, EmptySplitError
from builders.data.images import Images
from builders.seeds import hashed_generator
from specs.schemas.evaluation import split_name

if TYPE_CHECKING:
    from builders.data.dataset import Dataset

__all__ = ["EmptyPartWarning", "Mixture", "MixtureImages"]


class EmptyPartWarning(UserWarning):
    """A set of a mixture has no images to train on, so that the proportions are those of the others."""


class Mixture:
    """Datasets and their weights; the n-th sample comes from one of them at random, by a function of seed and n.

    Its classes are those of all sets, equal names being one class.

    Args:
        sets: by name.
        weights: by name, of any sum.

    Raises:
        DataError: there is none, or a weight is not positive.
    """

    def __init__(self, sets: Mapping[str, Dataset], weights: Mapping[str, float]) -> None:
        if not sets:
            raise DataError("a mixture needs at least one dataset")
        for name, weight in weights.items():
            if not (weight > 0 and math.isfinite(weight)):
                raise DataError(f"the weight of {name} is {weight}; it must be a positive number")
        self.sets, self.weights = dict(sets), dict(weights)
        self.classes = tuple(dict.fromkeys(name for each in sets.values() for name in each.classes))
        licences = dict.fromkeys(each.card.licence for each in sets.values())
        self.card = DatasetCard(name="+".join(sets), licence=", ".join(licences), classes=self.classes)

    def class_index(self, name: str) -> int:
        """The index of a class, as :meth:`builders.data.dataset.Dataset.class_index` finds it.

        Raises:
            DataError: there is no such class.
        """
        return class_index(self.card, name)

    def load(self, resolution: int | None = None, split: str = "train", *, seed: int = 0, **options: Any) -> Images:
        """Read a split of every set that has images in it, brought to one resolution.

        Raises:
            EmptySplitError: no set has any.
            DataError: as :meth:`builders.data.dataset.Dataset.load`.
        """
        split = split_name(split)
        side = resolution or next(iter(self.sets.values())).card.resolution
        if side is None:
            raise DataError(f"{self.card.name}: say to which resolution the sets are to be brought")
        parts, empty = {}, []
        for name, each in self.sets.items():
            try:
                parts[name] = each.load(side, split, seed=seed, **options)
            except EmptySplitError as error:
                empty.append(str(error))
        if not parts:
            raise EmptySplitError(f"{self.card.name}: no images in its {split} split")
        if empty and split != "val":
            warnings.warn(f"left out of the mixture: {'; '.join(empty)}", EmptyPartWarning, stacklevel=2)
        return MixtureImages(self, split, parts, seed)


class MixtureImages(Images):
    """A split of the sets of a mixture, and a stream that draws from them in proportion.

    Args:
        mixture: where they came from.
        split: which split it is.
        parts: images by the name of their set; the weights of sets that are not named are shared out among these.
        seed: of the stream.
    """

    def __init__(self, mixture: Mixture, split: str, parts: Mapping[str, Images], seed: int) -> None:
        self.card, self.split, self.seed = mixture.card, split, seed
        self.parts = list(parts.values())
        self.shards = tuple(shard for part in self.parts for shard in part.shards)
        weights = [mixture.weights[name] for name in parts]
        self.bounds = list(accumulate(weight / sum(weights) for weight in weights))[:-1]
        indices = {name: index for index, name in enumerate(mixture.classes)}
        sets = [mixture.sets[name] for name in parts]
        self.resolution = getattr(self.parts[0], "resolution", 0)
        self.renamed = [torch.tensor([*(indices[name] for name in s.classes), len(indices)]) for s in sets]
        self.classes = torch.cat([names[part.classes] for names, part in zip(self.renamed, self.parts, strict=True)])

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts)

    def batch(self, start: int, size: int, *, flip: bool = False) -> dict[str, Any]:
        samples = []
        for position in range(start, start + size):
            chance = torch.rand((), generator=hashed_generator(self.seed, "mixture", position)).item()
            number = bisect_right(self.bounds, chance)
            # Every set's own stream is entered at the same place; what it gives there is as good as any.
            samples.append(self._renamed(number, self.parts[number].batch(position, 1, flip=flip)))
        return _joined(samples)

    def in_order(self, batch_size: int) -> Iterator[dict[str, Any]]:
        for number, part in enumerate(self.parts):
            for batch in part.in_order(batch_size):
                yield self._renamed(number, batch)

    def first(self, count: int) -> tuple[Tensor, tuple[str, ...]]:
        share = -(-count // len(self.parts))
        found = [part.first(share) for part in self.parts]
        images, captions = torch.cat([each for each, _ in found]), [text for _, texts in found for text in texts]
        return images[:count], tuple(captions[:count])

    def _renamed(self, number: int, batch: dict[str, Any]) -> dict[str, Any]:
        return batch | {"classes": self.renamed[number][batch["classes"]]}


def _joined(samples: list[dict[str, Any]]) -> dict[str, Any]:
    first = samples[0]
    return {
        name: torch.cat([sample[name] for sample in samples])
        if isinstance(value, Tensor)
        else [item for sample in samples for item in sample[name]]
        for name, value in first.items()
    }
