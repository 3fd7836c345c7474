"""Several datasets sampled in given proportions."""

from __future__ import annotations

import math
import warnings
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from builders.data.classes import class_index, class_indices
from builders.data.dataset_card import DatasetCard
from builders.data.errors import DataError, EmptySplitError
from builders.data.images import Images, joined_rows, joined_samples
from builders.pixels import to_float
from builders.seeds import hashed_generator
from specs.addresses import shown_address
from specs.schemas.evaluation import split_name

if TYPE_CHECKING:
    from builders.data.dataset import Dataset

__all__ = ["EmptyPartWarning", "Mixture", "MixtureImages"]


class EmptyPartWarning(UserWarning):
    """A dataset of a mixture has no images in a split; the others share its weight."""


class Mixture:
    """Datasets with weights. Which one sample n comes from is random, but depends only on the seed and n.

    Its classes are those of all datasets; equal names are one class.

    Args:
        sets: Datasets by name.
        weights: Weights by name; they need not sum to 1.

    Raises:
        DataError: There are no datasets, or a weight is not positive.
    """

    def __init__(self, sets: Mapping[str, Dataset], weights: Mapping[str, float]) -> None:
        if not sets:
            raise DataError("a mixture needs at least one dataset")
        for name, weight in weights.items():
            if not (weight > 0 and math.isfinite(weight)):
                raise DataError(f"the weight of {shown_address(name)} is {weight}; it must be a positive number")
        self.sets, self.weights = dict(sets), dict(weights)
        classes = tuple(dict.fromkeys(name for each in sets.values() for name in each.classes))
        licences = dict.fromkeys(each.card.licence for each in sets.values())
        cards = [each.card for each in sets.values()]
        rates = {card.rate for card in cards}
        self.card = DatasetCard(
            name="+".join(map(shown_address, sets)),
            licence=", ".join(licences),
            classes=classes,
            frames=math.gcd(*(card.frames for card in cards)),
            rate=rates.pop() if len(rates) == 1 else None,
        )

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, by index."""
        return self.card.classes

    def class_index(self, name: str | int) -> int:
        """Return the index of a class; see :func:`builders.data.classes.class_index`.

        Raises:
            DataError: There is no such class.
        """
        return class_index(self.card, name)

    def load(self, resolution: int | None = None, split: str = "train", *, seed: int = 0, **options: Any) -> Images:
        """Load a split of every dataset that has images in it, at one resolution.

        Args:
            resolution: Side in pixels that images are resized to. Default: that of the first dataset's card.
            split: "train", "val" or "all".
            seed: Seed of the order of samples.
            options: Further arguments, such as ``frames``, of :meth:`builders.data.dataset.Dataset.load`.

        Raises:
            EmptySplitError: No dataset has images in the split.
            DataError: As for :meth:`builders.data.dataset.Dataset.load`.
        """
        split = split_name(split)
        side = resolution or next(iter(self.sets.values())).card.resolution
        if side is None:
            raise DataError(f"{self.card.name}: give a resolution to resize the images of all datasets to")
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
    """A split of a mixture, and a stream that draws from its datasets in proportion to their weights.

    Args:
        mixture: Mixture that the images belong to.
        split: Name of the split.
        parts: Images by name of the dataset; datasets that are missing here give their weight to the others.
        seed: Seed of the stream.
    """

    def __init__(self, mixture: Mixture, split: str, parts: Mapping[str, Images], seed: int) -> None:
        self.card, self.split, self.seed = mixture.card, split, seed
        self.parts = list(parts.values())
        self.shards = tuple(shard for part in self.parts for shard in part.shards)
        weights = [mixture.weights[name] for name in parts]
        self.bounds = list(accumulate(weight / sum(weights) for weight in weights))[:-1]
        self.resolution, self.frames = getattr(self.parts[0], "resolution", 0), self.parts[0].frames
        # For each dataset, the indices of its classes in the mixture; the last one is of unknown classes.
        self.renamed = [class_indices(self.card, [*mixture.sets[name].classes, None]) for name in parts]
        self.classes = torch.cat([names[part.classes] for names, part in zip(self.renamed, self.parts, strict=True)])

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts)

    @property
    def fractional(self) -> bool:
        return any(part.fractional for part in self.parts)

    def batch(self, start: int, size: int, *, flip: bool = False) -> dict[str, Any]:
        found = self.at(range(start, start + size), flip=flip)
        return found | {"image": to_float(found["image"])}

    def at(self, places: Sequence[int], *, flip: bool = False) -> dict[str, Any]:
        samples = []
        for place in places:
            chance = torch.rand((), generator=hashed_generator(self.seed, "mixture", place)).item()
            number = bisect_right(self.bounds, chance)
            # The place in the mixture is also the place in the dataset's own stream.
            samples.append(self._renamed(number, self.parts[number].at([place], flip=flip)))
        return joined_samples(samples)

    def in_order(self, batch_size: int, *, most: int | None = None) -> Iterator[dict[str, Any]]:
        share = 1.0 if most is None else min(1.0, most / max(1, len(self)))
        for number, part in enumerate(self.parts):
            for batch in part.in_order(batch_size, most=max(1, round(share * len(part)))):
                yield self._renamed(number, batch)

    def first(self, count: int) -> tuple[Tensor, tuple[str, ...]]:
        share = -(-count // len(self.parts))
        found = [part.first(share) for part in self.parts]
        images, captions = joined_rows([each for each, _ in found]), [text for _, texts in found for text in texts]
        return images[:count], tuple(captions[:count])

    def _renamed(self, number: int, batch: dict[str, Any]) -> dict[str, Any]:
        """Return a batch of a dataset with the class indices of the mixture."""
        return batch | {"classes": self.renamed[number][batch["classes"]]}
