"""Checkpoints: safetensors files that carry their spec, its hashes and a hash of their own tensors.

Two kinds share the format. A weights file is what people share: one set of weights and all that is needed to build the
network. A state file is what training resumes from: weights, moving average, optimizer moments and where it stood.
Nothing is ever unpickled, and a file is written under a temporary name and renamed, so that the old one survives
whatever happens meanwhile.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import struct
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from builders.network import NestedUNet, build_model
from specs.canonical import expanded_yaml
from specs.errors import SpecError
from specs.graph import EntryGraph
from specs.load import load_text

__all__ = [
    "CheckpointError",
    "load_checkpoint",
    "read_tensors",
    "read_weights",
    "save_weights",
    "spec_metadata",
    "versions",
    "write_tensors",
]

FORMAT = "matryoshka-zoo/1"
_PACKAGES = ("matryoshka-zoo", "torch", "safetensors", "numpy")


class CheckpointError(ValueError):
    """A checkpoint cannot be written, or cannot be read, or is not what it should be."""


def content_hash(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """SHA-256 over the metadata but the hash itself, and over names, types, shapes and bytes in the order of names."""
    facts = {key: value for key, value in metadata.items() if key != "content"}
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu()
        digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)};".encode())
        digest.update(_bytes(tensor))
    return digest.hexdigest()


def _bytes(tensor: Tensor) -> memoryview:
    """The bytes of a tensor, without a copy where it is contiguous."""
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data if tensor.numel() else memoryview(b"")


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that decide results."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def spec_metadata(graph: EntryGraph) -> dict[str, str]:
    """What a file says of the network whose weights it holds."""
    return {"entry": graph.name, "spec": expanded_yaml(graph), "hash": graph.hash, "graph_hash": graph.graph_hash}


def write_tensors(path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file whole or not at all.

    Raises:
        CheckpointError: it cannot be written; what was there before is untouched.
    """
    path = Path(path)
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    facts = {**metadata, "format": FORMAT}
    facts["content"] = content_hash(plain, facts)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            _write_safetensors(file, plain, facts)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if not isinstance(error, OSError):
            raise
        raise CheckpointError(
            f"{path}: cannot be written ({error.strerror}); the checkpoint before it, if any, is untouched"
        ) from error


#: What safetensors calls the types of torch.
_TYPES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64",
    torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip


def _write_safetensors(file: BinaryIO, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write the safetensors format: size of the header, the header as JSON, the bytes of the tensors.

    The library's own writer puts metadata in random order, so that equal contents give unequal files, and holds the
    whole file in memory or hides the system's errors.
    """
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))}
    # Large items first, as the library does, so that every tensor stands aligned.
    names = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    end = 0
    for name in names:
        start, end = end, end + tensors[name].numel() * tensors[name].element_size()
        shape = list(tensors[name].shape)
        header[name] = {"dtype": _TYPES[tensors[name].dtype], "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    file.write(struct.pack("<Q", len(text)) + text)
    for name in names:
        file.write(_bytes(tensors[name]))


def _sync_folder(folder: Path) -> None:
    # The rename itself must reach the disk; not every system lets a folder be opened for it.
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_tensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the metadata of a checkpoint, verified.

    Raises:
        CheckpointError: the file is missing, truncated, damaged or of another kind.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            if metadata.get("format") != FORMAT:
                found = metadata.get("format", "none")
                raise CheckpointError(
                    f"{path}: not a checkpoint of this zoo (format {FORMAT!r} expected, found {found!r}); "
                    "published weights are read by 'zoo convert'"
                )
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: truncated or not a safetensors file ({error})") from error
    if content_hash(tensors, metadata) != metadata.get("content"):
        raise CheckpointError(f"{path}: damaged: its contents do not have the hash they were written with")
    return tensors, metadata


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
