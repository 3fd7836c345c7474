"""Checkpoints: safetensors files with their spec, its hashes and a hash of their contents.

There are two kinds. A weights file holds the weights of a network and everything needed to build it. A state file holds
everything that training resumes from: weights, EMA, optimizer state and progress. Nothing is unpickled. Files are
written under a temporary name and renamed, so that a failure leaves the old file intact.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from builders.checkpoints.tensor_file import CheckpointError, first_not_finite, read_tensors, write_tensors
from builders.networks.nested_unet import NestedUNet, build_model
from builders.versions import versions
from specs.errors import SpecError
from specs.expanded_yaml import expanded_yaml
from specs.graph import EntryGraph
from specs.load import load_text

__all__ = [
    "halve_weights",
    "load_checkpoint",
    "read_weights",
    "save_weights",
    "saved_graph",
    "spec_metadata",
    "versions",
]


def spec_metadata(graph: EntryGraph) -> dict[str, str]:
    """Return the metadata that describes a network: its name, spec and hashes."""
    return {"entry": graph.name, "spec": expanded_yaml(graph), "hash": graph.hash, "graph_hash": graph.graph_hash}


def save_weights(
    path: str | Path, graph: EntryGraph, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any] | None = None
) -> None:
    """Write the weights of a network with its spec.

    Args:
        path: Path of the ``.safetensors`` file.
        graph: Graph of the network.
        tensors: State dict of the network.
        metadata: Other metadata, such as the data, the recipe and the step. Stored as JSON, or text as it is.

    Raises:
        CheckpointError: The file cannot be written; an existing file is unchanged.
    """
    base = {"kind": "weights", "versions": json.dumps(versions()), **spec_metadata(graph)}
    write_tensors(path, tensors, base | _as_text(metadata))


def _as_text(metadata: Mapping[str, Any] | None) -> dict[str, str]:
    """Return metadata as text: JSON, or text as it is."""
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in (metadata or {}).items()}


def load_checkpoint(
    path: str | Path, expected: EntryGraph | None = None, device: torch.device | str = "cpu"
) -> tuple[NestedUNet, dict[str, str]]:
    """Build the network of a weights file and load its weights.

    Args:
        path: Path of the file.
        expected: Graph of the entry that the file should hold. None to accept any.
        device: Device of the model.

    Returns:
        The model, in evaluation mode, and the metadata: ``entry``, ``spec``, ``hash``, ``graph_hash``, ``versions``
        and what :func:`save_weights` added, such as ``data``, ``recipe``, ``step`` (of the last phase) and
        ``total_steps``.

    Raises:
        CheckpointError: The file is damaged, not a weights file, or holds another network than ``expected``.
    """
    tensors, graph, metadata = read_weights(path)
    if expected is not None and expected.graph_hash != graph.graph_hash:
        raise CheckpointError(
            f"{path}: holds {graph.name} with graph hash {graph.graph_hash}, but {expected.name} has "
            f"{expected.graph_hash}: its structure differs (compare 'zoo expand' of both)"
        )
    model = build_model(graph, device, initialize=False)
    load_exactly(model, tensors, path)
    return model.eval(), metadata


def read_weights(path: str | Path) -> tuple[dict[str, Tensor], EntryGraph, dict[str, str]]:
    """Read and verify a weights file.

    Returns:
        The tensors by name, the graph of their network, and the metadata.

    Raises:
        CheckpointError: The file is damaged, not a weights file, or has a weight that is not finite.
    """
    tensors, metadata = read_tensors(path)
    if metadata.get("kind") != "weights":
        kind = metadata.get("kind", "file of another kind")[:80]
        raise CheckpointError(f"{path}: holds a {kind}, not weights; use the weights file beside it")
    bad = first_not_finite(tensors)
    if bad is not None:
        raise CheckpointError(f"{path}: {bad} holds NaN or infinity; these weights draw nothing, use earlier ones")
    return tensors, saved_graph(path, metadata), metadata


def saved_graph(path: str | Path, metadata: Mapping[str, str]) -> EntryGraph:
    """Return the graph of the network whose spec is among the metadata of a file.

    Args:
        path: Path of the file, for messages.
        metadata: Its metadata.

    Raises:
        CheckpointError: There is no spec, or it is not that of the file.
    """
    try:
        graph = load_text(metadata["spec"], f"{path} (spec)", saved=True).graph
    except KeyError:
        raise CheckpointError(f"{path}: its metadata has no spec") from None
    except SpecError as error:
        first = str(error).partition("\n")[0]
        raise CheckpointError(f"{path}: its spec cannot be read: {first[:400]}") from error
    if graph.graph_hash != metadata.get("graph_hash"):
        said = metadata.get("graph_hash", "none")[:80]
        raise CheckpointError(f"{path}: its spec has graph hash {graph.graph_hash}, but the file says {said}")
    return graph


def halve_weights(source: str | Path, target: str | Path, metadata: Mapping[str, Any] | None = None) -> None:
    """Write a weights file in float16, half the size. Networks load it as any other, and compute in float32.

    Args:
        source: Path of the weights file.
        target: Path of the new file.
        metadata: Further metadata, such as ``val_v_loss`` by level. Stored as JSON, or text as it is.

    Raises:
        CheckpointError: The file is damaged, not a weights file, or has a weight that float16 cannot hold.
    """
    tensors, _, before = read_weights(source)
    halves = {name: each.half() if each.is_floating_point() else each for name, each in tensors.items()}
    bad = first_not_finite(halves)
    if bad is not None:
        raise CheckpointError(f"{source}: {bad} holds values above 65,504, the largest of float16")
    write_tensors(target, halves, before | _as_text(metadata))


def load_exactly(model: NestedUNet, tensors: Mapping[str, Tensor], path: str | Path) -> None:
    """Load a state dict that must have exactly the names and shapes of the model.

    Args:
        model: Model to load into.
        tensors: State dict.
        path: Path of its file, for messages.

    Raises:
        CheckpointError: Names or shapes differ; nothing is loaded.
    """
    own = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    given = {name: tuple(value.shape) for name, value in tensors.items()}
    problems = [f"missing {name}" for name in own if name not in given]
    problems += [f"unknown {name}" for name in given if name not in own]
    problems += [f"{name} is {given[name]}, not {own[name]}" for name in own if own[name] != given.get(name, own[name])]
    if problems:
        shown = "\n  ".join(problems[:12] + [f"... and {len(problems) - 12} more"] * (len(problems) > 12))
        raise CheckpointError(f"{path}: does not fit {model.graph.name}:\n  {shown}")
    model.load_state_dict(dict(tensors))
