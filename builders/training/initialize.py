"""Initial weights of a phase: from a weights file, or from an entry whose weights are in the package."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from builders.checkpoints.tensor_file import CheckpointError
from builders.checkpoints.weights import read_weights
from builders.networks.nested_unet import NestedUNet
from builders.training.starting.weights import shared_levels, weights_file
from specs.graph import EntryGraph

__all__ = ["check_shared", "load_shared", "process_difference", "weights_file"]

#: The name before version 0.2.
sub_entry = EntryGraph.inner


def check_shared(graph: EntryGraph, path: Path) -> tuple[str, ...]:
    """Return the labels of the levels that an entry and a weights file share, outermost first.

    These are the largest level whose graph hash is the same in both, and all levels inside it.

    Raises:
        TrainingError: They share no level.
        CheckpointError: The file is damaged or not a weights file.
    """
    return _read_shared(graph, path)[0]


def process_difference(graph: EntryGraph, path: Path) -> str:
    """Say how the diffusion process of a weights file differs from an entry's in the levels they share; else empty.

    A shift that leaves the noise of these levels as it is, because they are not larger than the innermost one, does not
    count.

    Raises:
        TrainingError: They share no level.
        CheckpointError: The file is damaged or not a weights file.
    """
    labels, _, theirs = _read_shared(graph, path)
    changed = [label for label in labels if _noise(graph, label) != _noise(theirs, label)]
    if not changed:
        return ""
    were = f"level {changed[0]} was" if len(changed) == 1 else f"levels {', '.join(changed)} were"
    return (
        f"{path}: its {were} trained with the process {_described(theirs)} of {theirs.name}, "
        f"not with {_described(graph)} of {graph.name}"
    )


def _noise(graph: EntryGraph, label: str) -> tuple[str | int | float | None, ...]:
    """Return what a level's noise and prediction depend on: schedule, steps, prediction, shift, offset and so on."""
    process = graph.process
    ratio = graph.noise_ratios[graph.labels.index(label)]
    innermost = label == graph.labels[-1]
    around = () if innermost else (process.noise, process.residual_of(label))
    return process.schedule, process.steps, process.prediction, ratio**process.shift, process.offset, *around


def _described(graph: EntryGraph) -> str:
    process = graph.process
    base = f", base: {process.base}" if process.base else ""
    text = f"schedule: {process.schedule}, steps: {process.steps}, shift: {process.shift:g}{base}"
    noise = "" if process.noise == "independent" else f", noise: {process.noise}"
    noise += f", offset: {process.offset:g}" if process.offset else ""
    residual = "" if process.residual is None else f", residual: {process.shown_residual}"
    return "{" + f"{text}, prediction: {process.prediction}{noise}{residual}" + "}"


def _read_shared(graph: EntryGraph, path: Path) -> tuple[tuple[str, ...], Mapping[str, Tensor], EntryGraph]:
    """Read a weights file; return the labels of :func:`check_shared`, all tensors of the file, and its graph."""
    tensors, theirs, _ = read_weights(path)
    return shared_levels(graph, theirs, path), tensors, theirs


def load_shared(model: NestedUNet, path: Path) -> tuple[str, ...]:
    """Load the inputs and the shared levels, see :func:`check_shared`; return their labels, outermost first.

    Raises:
        TrainingError: There are none. Nothing is loaded.
        CheckpointError: The file is damaged, lacks a weight or is not a weights file. Nothing is loaded.
    """
    labels, tensors, _ = _read_shared(model.graph, path)
    wanted = {name for name in model.state_dict() if not name.startswith("levels.") or name.split(".")[1] in labels}
    missing = sorted(wanted - set(tensors))
    if missing:
        raise CheckpointError(f"{path}: missing {', '.join(missing[:4])}{' ...' if len(missing) > 4 else ''}")
    model.load_state_dict({name: tensors[name] for name in wanted}, strict=False)
    return labels
