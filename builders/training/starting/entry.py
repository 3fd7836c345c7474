"""Whether an entry is for the data of a training. Imports no torch."""

from __future__ import annotations

from builders.training.errors import TrainingError
from specs.graph import EntryGraph

__all__ = ["check_entry"]


def check_entry(entry: EntryGraph, classes: int, name: str) -> None:
    """Check that an entry is for RGB images, and has as many classes as the data.

    Args:
        entry: Graph of the entry.
        classes: Number of classes of the data.
        name: Name of the data.

    Raises:
        TrainingError: It does not fit.
    """
    if entry.levels[0].channels != 3:
        raise TrainingError(f"{entry.name} is for images of {entry.levels[0].channels} channels; data has 3, RGB")
    if entry.classes not in (None, classes):
        advice = (
            "label its samples (zoo data pack uses the names of subfolders), train it without classes "
            "(--classes auto, in a recipe classes: 0), or train an entry without classes"
        )
        if classes:
            advice = (
                f"train it with the classes of the data (--classes auto, or in a recipe classes: {classes}), or train "
                f"an entry that extends it with 'inputs: {{classes: {classes}}}' in its innermost level, or one that "
                "reads text"
            )
        counts = f"{entry.name} has {entry.classes} classes, but the data {name} has {classes or 'none'}"
        raise TrainingError(f"{counts}; {advice}")
