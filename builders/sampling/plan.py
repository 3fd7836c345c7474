"""Plans of samples: a seed and a class or prompt for each."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from builders.data.dataset_card import whole_number
from specs.graph import EntryGraph

if TYPE_CHECKING:
    from builders.sampling.generation import Request

__all__ = ["Labelled", "Plan"]


class Labelled(Protocol):
    """Data with names of classes: a dataset or a mixture."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, by index."""
        ...

    def class_index(self, name: str | int) -> int:
        """Return the index of a class."""
        ...


@dataclass(frozen=True)
class Plan:
    """Samples to draw.

    Attributes:
        seeds: Seed of each sample.
        captions: Description of each sample: its prompt, the name of its class, or its seed.
        classes: Class index of each sample, for class-conditional models.
        prompts: Prompt of each sample, for models that read text.
    """

    seeds: tuple[int, ...]
    captions: tuple[str, ...]
    classes: tuple[int, ...] | None = None
    prompts: tuple[str, ...] | None = None

    @staticmethod
    def make(
        graph: EntryGraph,
        data: Labelled | None,
        classes: Sequence[str | int],
        prompts: Sequence[str],
        count: int,
        seed: int,
    ) -> Plan:
        """Plan samples of every class or prompt.

        Args:
            graph: Graph of the entry.
            data: Training data or :class:`~builders.data.classes.ClassNames`, for the names of the classes. None if
                they are unknown.
            classes: Names or indices of the classes. Empty for all.
            prompts: Prompts, for models that read text.
            count: Number of samples per class or prompt, or in total for unconditional models.
            seed: Seed of the first sample. Each further one takes the next.

        Raises:
            ValueError: The model does not take classes or prompts, or needs prompts, or there is no such class.
        """
        if prompts and graph.text is None:
            raise ValueError(f"{graph.name} does not read text: remove --prompt")
        if classes and graph.classes is None:
            raise ValueError(f"{graph.name} has no classes: remove --class")
        if graph.text is not None:
            if not prompts:
                raise ValueError(f"{graph.name} reads text: add --prompt")
            texts = tuple(prompt for prompt in prompts for _ in range(count))
            return Plan(_seeds(seed, len(texts)), texts, prompts=texts)
        if graph.classes is None:
            seeds = _seeds(seed, count)
            return Plan(seeds, tuple(f"seed {each}" for each in seeds))
        known = data if data is not None and len(data.classes) == graph.classes else None
        chosen = [_class_index(name, graph.classes, known) for name in classes] or range(graph.classes)
        indices = tuple(index for index in chosen for _ in range(count))
        captions = tuple(known.classes[index] if known is not None else f"class {index}" for index in indices)
        return Plan(_seeds(seed, len(indices)), captions, classes=indices)

    def extending(self, seeds: Sequence[int], captions: Sequence[str]) -> Plan | None:
        """Return a plan of as many samples of each class or prompt that includes samples which are there already.

        The others take the next unused seeds.

        Args:
            seeds: Seeds of the samples that are there.
            captions: Their classes or prompts; not read for an unconditional model.

        Returns:
            The plan, or None if the samples are not among those of this plan: they start from another seed, or there
            are more of a class or prompt.
        """
        plain = self.classes is None and self.prompts is None
        there: dict[str, list[int]] = {}
        for number, caption in zip(seeds, captions, strict=True):
            there.setdefault("" if plain else caption, []).append(number)
        keys = [""] * len(self) if plain else list(self.captions)
        if not seeds or min(seeds) != min(self.seeds) or len(set(seeds)) < len(seeds):
            return None
        if any(len(numbers) > keys.count(key) for key, numbers in there.items()):
            return None
        unused = (number for number in itertools.count(min(self.seeds)) if number not in set(seeds))
        chosen = tuple(there[key].pop(0) if there.get(key) else next(unused) for key in keys)
        return replace(self, seeds=chosen, captions=tuple(f"seed {n}" for n in chosen) if plain else self.captions)

    def __len__(self) -> int:
        return len(self.seeds)

    def request(self, rows: Sequence[int]) -> Request:
        """Return the request of some of the samples, for :func:`builders.sampling.generation.draw`."""
        from builders.sampling.generation import Request

        classes = None if self.classes is None else tuple(self.classes[row] for row in rows)
        prompts = None if self.prompts is None else tuple(self.prompts[row] for row in rows)
        return Request(tuple(self.seeds[row] for row in rows), classes, prompts)


def _seeds(first: int, count: int) -> tuple[int, ...]:
    return tuple(range(first, first + count))


def _class_index(name: str | int, number: int, data: Labelled | None) -> int:
    if data is not None:
        return data.class_index(name)
    name = str(name)
    index = whole_number(name)
    if index is None or not 0 <= index < number:
        raise ValueError(f"--class {name}: the names of the classes are unknown; use a number from 0 to {number - 1}")
    return index
