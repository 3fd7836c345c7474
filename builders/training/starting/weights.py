"""The weights that a phase starts from: their file, and the levels that it shares with an entry. Imports no torch."""

from __future__ import annotations

from pathlib import Path

from builders.checkpoints.shipped import WEIGHTS, shipped_weights
from builders.training.errors import TrainingError
from specs import library
from specs.errors import did_you_mean
from specs.graph import EntryGraph
from specs.user_paths import expanded as expand_home

__all__ = ["shared_levels", "weights_file"]


def weights_file(source: str) -> Path:
    """Return the file that ``initialise`` in a recipe names.

    Args:
        source: Path of a weights file, folder of a run, or name of an entry with weights in the package.

    Raises:
        TrainingError: There is no such file, or no such weights.
    """
    if library.is_path(source) or source.endswith(".safetensors"):
        path = expand_home(source)
        path = path / "ema.safetensors" if path.is_dir() else path
        if not path.is_file():
            raise TrainingError(f"initialise: {path}: no such weights file")
        return path
    shipped = shipped_weights(source)
    if shipped is None:
        names = sorted(each.stem for each in WEIGHTS.glob("*.safetensors"))
        hint = did_you_mean(source, names)
        has = f"entries with weights: {', '.join(names)}; or give the path of a .safetensors file"
        raise TrainingError(f"initialise: the package has no weights of an entry {source!r}{hint} ({has})")
    return shipped


def shared_levels(graph: EntryGraph, theirs: EntryGraph, path: Path) -> tuple[str, ...]:
    """Return the labels of the levels that an entry and the entry of a weights file share, outermost first.

    These are the largest level whose graph hash is the same in both, and all levels inside it.

    Args:
        graph: Graph of the entry.
        theirs: Graph of the weights.
        path: File of the weights, for the message.

    Raises:
        TrainingError: They share no level.
    """
    for index, label in enumerate(graph.labels):
        if theirs.graph_hashes.get(label) == graph.graph_hashes[label]:
            return graph.labels[index:]
    raise TrainingError(
        f"initialise: {path} holds {theirs.name} ({', '.join(theirs.labels)}), which has no level in common with "
        f"{graph.name} ({', '.join(graph.labels)}): levels must be equal in structure, with all levels inside them"
    )
