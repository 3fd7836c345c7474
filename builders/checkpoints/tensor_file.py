"""The file format of checkpoints: safetensors with a content hash, replaced as a whole or not at all."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from builders.files import replacing

FORMAT = "matryoshka-zoo/1"


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


def write_tensors(path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file whole or not at all.

    Raises:
        CheckpointError: it cannot be written; what was there before is untouched.
    """
    path = Path(path)
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    facts = {**metadata, "format": FORMAT}
    facts["content"] = content_hash(plain, facts)
    try:
        with replacing(path, sync=True) as temporary, temporary.open("wb") as file:
            _write_safetensors(file, plain, facts)
    except OSError as error:
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
