"""Checkpoints: safetensors files that carry their spec, its hashes and a hash of their own tensors.

Two kinds share the format. A weights file is what people share: one set of weights and all that is needed to build the
network. A state file is what training resumes from: weights, moving average, optimizer moments and where it stood.
Nothing is ever unpickled, and a file is written under a temporary name and renamed, so that the old one survives
whatever happens meanwhile.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from builders.checkpoints.tensor_file import CheckpointError, read_tensors, write_tensors
from builders.networks.nested_unet import NestedUNet, build_model
from builders.versions import versions
from specs.errors import SpecError
from specs.expanded_yaml import expanded_yaml
from specs.graph import EntryGraph
from specs.load import load_text

__all__ = ["load_checkpoint", "read_weights", "save_weights", "spec_metadata", "versions"]


def spec_metadata(graph: EntryGraph) -> dict[str, str]:
    """What a file says of the network whose weights it holds."""
    return {"entry": graph.name, "spec": expanded_yaml(graph), "hash": graph.hash, "graph_hash": graph.graph_hash}


def save_weights(
    path: str | Path, graph: EntryGraph, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any] | None = None
) -> None:
    """Write the weights of a network with its spec.

    Args:
        path: of the file, ``.safetensors``.
        graph: the network.
        tensors: its state dict.
        metadata: further facts, such as the data, the recipe and the step; kept as text.
    """
    facts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in (metadata or {}).items()}
    base = {"kind": "weights", "versions": json.dumps(versions()), **spec_metadata(graph)}
    write_tensors(path, tensors, base | facts)


def load_checkpoint(
    path: str | Path, expected: EntryGraph | None = None, device: torch.device | str = "cpu"
) -> tuple[NestedUNet, dict[str, str]]:
    """Build the network a weights file describes and load it; all of it or nothing.

    Args:
        path: of the file.
        expected: the entry it should hold, if that is known.
        device: where to put the model.

    Returns:
        The model, in evaluation mode, and the metadata: ``entry``, ``spec``, ``hash``, ``graph_hash``, ``versions``
        and whatever was added, such as ``data``, ``recipe``, ``step``.

    Raises:
        CheckpointError: the file is damaged, of another kind, or holds another network than ``expected``.
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
    """The tensors of a weights file, the network they are of, and the metadata, verified.

    Raises:
        CheckpointError: the file is damaged or of another kind.
    """
    tensors, metadata = read_tensors(path)
    if metadata.get("kind") != "weights":
        raise CheckpointError(f"{path}: holds a {metadata.get('kind')}, not weights; its weights stand beside it")
    return tensors, _graph(path, metadata), metadata


def _graph(path: str | Path, metadata: Mapping[str, str]) -> EntryGraph:
    try:
        graph = load_text(metadata["spec"], f"{path} (spec)").graph
    except (KeyError, SpecError) as error:
        raise CheckpointError(f"{path}: the spec inside cannot be read:\n{error}") from error
    if graph.graph_hash != metadata.get("graph_hash"):
        raise CheckpointError(
            f"{path}: the spec inside gives graph hash {graph.graph_hash}, the file says {metadata.get('graph_hash')}"
        )
    return graph


def load_exactly(model: NestedUNet, tensors: Mapping[str, Tensor], path: str | Path) -> None:
    """Load a state dict that must fit in every name and shape.

    Raises:
        CheckpointError: with what differs; nothing is loaded.
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
