"""Checks before the first step: that the data has the clips of every phase, and that images have the same classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from builders.training.errors import TrainingError
from specs.addresses import shown_address
from specs.printable import printable

if TYPE_CHECKING:
    from builders.data.dataset import Dataset
    from builders.data.dataset_card import DatasetCard
    from builders.data.mixture import Mixture
    from builders.training.reading.sources import Sources
    from builders.training.settings import PhaseSettings
    from specs.graph import EntryGraph

__all__ = ["check_clips", "check_labels"]

#: Largest number of classes that a message names.
SHOWN = 5


def check_clips(phases: Sequence[PhaseSettings], sources: Sources, name: str) -> None:
    """Check that the data has clips of enough frames for every phase that trains a level of clips.

    Args:
        phases: Settings of the phases.
        sources: Datasets of the recipe.
        name: Name of the dataset under ``data``.

    Raises:
        TrainingError: It has images, or clips of a number of frames that does not fit.
    """
    for phase in phases:
        size = phase.kinds.clip_size
        if size is None:
            continue
        for part, card in _cards(sources.data, name):
            stored = card.frames
            if stored > 1 and stored % size.frames == 0:
                continue
            found = f"clips of {stored} frames" if stored > 1 else "images, not clips"
            level = phase.graph.labels[0]
            raise TrainingError(
                f"phase {printable(phase.name)} trains {level} on clips of {size.frames} frames, but {part} has "
                f"{found}: name a dataset under 'data' whose clips have {size.frames} frames or a multiple of that "
                "(zoo data pack VIDEOS OUT --frames N makes one); images alone belong under 'images'"
            )


def check_labels(entry: EntryGraph, sources: Sources, name: str, images: str) -> None:
    """Check that images have the classes of the clips, or none: then they are trained on without a class.

    Args:
        entry: Graph of the entry.
        sources: Datasets of the recipe.
        name: Name of the dataset under ``data``.
        images: Name of the dataset under ``images``.

    Raises:
        TrainingError: They have other classes.
    """
    if sources.images is None or entry.classes is None:
        return
    unknown = [each for each in sources.images.classes if each not in sources.data.classes]
    if unknown:
        shown = ", ".join(unknown[:SHOWN]) + (", ..." if len(unknown) > SHOWN else "")
        raise TrainingError(
            f"{entry.name} has the classes of {name}, but {images}, under 'images', has others ({printable(shown)}): "
            "give its images the same classes, or none, or train an entry without classes"
        )


def _cards(data: Dataset | Mixture, name: str) -> Iterator[tuple[str, DatasetCard]]:
    """Yield names and cards of a dataset, or of the datasets of a mixture."""
    sets: dict[str, Dataset] | None = getattr(data, "sets", None)
    if sets is None:
        yield name, data.card
    else:
        yield from ((shown_address(each), dataset.card) for each, dataset in sets.items())
