"""What ``zoo sample`` draws: for each sample its class or prompt, and its seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from builders.data.dataset import Dataset
    from builders.data.mixture import Mixture
    from builders.sampling.generation import Request
    from specs.graph import EntryGraph

    Data = Dataset | Mixture | None

__all__ = ["Plan"]


@dataclass(frozen=True)
class Plan:
    """For each sample a seed, what it is called, and the index of its class or its prompt where the model takes one."""

    seeds: tuple[int, ...]
    captions: tuple[str, ...]
    classes: tuple[int, ...] | None = None
    prompts: tuple[str, ...] | None = None

    @staticmethod
    def make(
        graph: EntryGraph, data: Data, classes: Sequence[str], prompts: Sequence[str], count: int, seed: int
    ) -> Plan:
        """``count`` samples of each class or prompt, or in all where the model has neither; seeds from ``seed`` on.

        Raises:
            ValueError: classes or prompts that the model does not take, or lacks.
        """
        if prompts and graph.text is None:
            raise ValueError(f"{graph.name} reads no text and takes no --prompt")
        if classes and graph.classes is None:
            raise ValueError(f"{graph.name} has no classes")
        if graph.text is not None and not prompts:
            raise ValueError(f"{graph.name} reads text: say what to draw with --prompt")
        if graph.text is not None:
            texts = tuple(prompt for prompt in prompts for _ in range(count))
            return Plan(_seeds(seed, len(texts)), texts, prompts=texts)
        if graph.classes is None:
            seeds = _seeds(seed, count)
            return Plan(seeds, tuple(f"seed {each}" for each in seeds))
        known = data if data is not None and len(data.classes) == graph.classes else None
        chosen = [_class(name, graph.classes, known) for name in classes] or list(range(graph.classes))
        indices = tuple(index for index in chosen for _ in range(count))
        captions = tuple(known.classes[index] if known is not None else f"class {index}" for index in indices)
        return Plan(_seeds(seed, len(indices)), captions, classes=indices)

    def __len__(self) -> int:
        return len(self.seeds)

    def request(self, rows: Sequence[int]) -> Request:
        """What :func:`builders.sampling.generation.draw` is asked for, for some of the samples."""
        from builders.sampling.generation import Request

        classes = None if self.classes is None else tuple(self.classes[row] for row in rows)
        prompts = None if self.prompts is None else tuple(self.prompts[row] for row in rows)
        return Request(tuple(self.seeds[row] for row in rows), classes, prompts)


def _seeds(first: int, count: int) -> tuple[int, ...]:
    return tuple(range(first, first + count))


def _class(name: str, number: int, data: Data) -> int:
    if data is not None:
        return data.class_index(name)
    if not name.isdecimal() or int(name) >= number:
        raise ValueError(
            f"--class {name}: the names of the classes are not at hand; give a number from 0 to {number - 1}"
        )
    return int(name)
