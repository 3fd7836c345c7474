"""How a network grows outwards: the part of an entry that a phase trains, and where its weights come from."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from torch import Tensor

from builders.checkpoints.tensor_file import CheckpointError
from builders.checkpoints.weights import read_weights
from builders.networks.nested_unet import NestedUNet
from builders.training.errors import TrainingError
from specs import library
from specs.errors import did_you_mean
from specs.graph import EntryGraph

__all__ = ["check_shared", "load_shared", "weights_file"]


def weights_file(source: str) -> Path:
    """The file that ``initialise`` names: a path, or an entry whose weights are in the package.

    Raises:
        TrainingError: there is no such file, or no such weights.
    """
    if library.is_path(source) or source.endswith(".safetensors"):
        path = Path(source).expanduser()
        path = path / "ema.safetensors" if path.is_dir() else path
        if not path.is_file():
            raise TrainingError(f"initialise: {path}: no such weights file")
        return path
    folder = Path(str(files("builders"))) / "weights"
    path = folder / f"{source}.safetensors"
    if not path.is_file():
        names = sorted(each.stem for each in folder.glob("*.safetensors"))
        hint = did_you_mean(source, names)
        has = f"those with weights: {', '.join(names)}; or give the path of a .safetensors file"
        raise TrainingError(f"initialise: no weights of an entry {source!r} are in the package{hint} ({has})")
    return path


def check_shared(graph: EntryGraph, path: Path) -> tuple[str, ...]:
    """The labels of the levels that an entry and a weights file have in common, outermost first.

    These are the largest level with all inside it that is the same in both, by its graph hash.

    Raises:
        TrainingError: they share no level.
        CheckpointError: the file is damaged or no weights file.
    """
    return _shared(graph, read_weights(path)[1], path)


def load_shared(model: NestedUNet, path: Path) -> tuple[str, ...]:
    """Load the levels that :func:`check_shared` finds; return their labels, outermost first.

    Raises:
        TrainingError: there are none; nothing is loaded.
        CheckpointError: the file is damaged or no weights file.
    """
    tensors, graph, _ = read_weights(path)
    labels = _shared(model.graph, graph, path)
    load_levels(model, tensors, labels, path)
    return labels


def _shared(ours: EntryGraph, theirs: EntryGraph, path: Path) -> tuple[str, ...]:
    hashes = theirs.graph_hashes
    shared = next((label for label in ours.labels if hashes.get(label) == ours.graph_hashes[label]), None)
    if shared is None:
        raise TrainingError(
            f"initialise: {path} holds {theirs.name} ({', '.join(theirs.labels)}), none of whose levels is one of "
            f"{ours.name} ({', '.join(ours.labels)}) with the same structure inside"
        )
    return ours.labels[ours.labels.index(shared) :]


def load_levels(model: NestedUNet, tensors: Mapping[str, Tensor], labels: tuple[str, ...], path: Path) -> None:
    """Load some levels and the inputs, all of them or nothing."""
    wanted = {name for name in model.state_dict() if not name.startswith("levels.") or name.split(".")[1] in labels}
    chosen = {name: value for name, value in tensors.items() if name in wanted}
    lacking = sorted(wanted - set(chosen))
    if lacking:
        raise CheckpointError(f"{path}: lacks {', '.join(lacking[:4])}{' ...' if len(lacking) > 4 else ''}")
    model.load_state_dict(chosen, strict=False)
