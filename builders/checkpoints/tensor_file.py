"""The file format of checkpoints: safetensors with a content hash, written atomically."""

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

from builders.checkpoints.header import CheckpointError, read_metadata
from builders.files import replacing

__all__ = ["CheckpointError", "content_hash", "first_not_finite", "read_tensors", "write_tensors"]

FORMAT = "matryoshka-zoo/1"


def content_hash(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """Return the SHA-256 of the metadata, without this hash, and of names, types, shapes and bytes of the tensors."""
    facts = {key: value for key, value in metadata.items() if key != "content"}
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu()
        digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)};".encode())
        digest.update(_bytes(tensor))
    return digest.hexdigest()


def _bytes(tensor: Tensor) -> memoryview:
    """Return the bytes of a tensor, without a copy if it is contiguous."""
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data if tensor.numel() else memoryview(b"")


def write_tensors(path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file, replacing the whole file or nothing.

    Args:
        path: Path of the file.
        tensors: Tensors by name.
        metadata: Metadata; the format and the content hash are added.

    Raises:
        CheckpointError: The file cannot be written; an existing file is unchanged.
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
            f"{path}: cannot be written ({error.strerror}); an existing checkpoint is unchanged"
        ) from error


#: Names of torch's types in safetensors files.
_TYPES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64",
    torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip


def _write_safetensors(file: BinaryIO, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write the safetensors format: size of the header, the header as JSON, the bytes of the tensors.

    The safetensors library writes metadata in random order, so that equal contents give different files, and either
    holds the whole file in memory or hides the system's errors.
    """
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))}
    # Types with large elements first, as in the library, so that every tensor is aligned.
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


def first_not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """Return the name of the first tensor that holds NaN or infinity, or None; whole numbers are always finite."""
    for name, tensor in tensors.items():
        if not (tensor.is_floating_point() or tensor.is_complex()) or not tensor.numel():
            continue
        values = torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor
        if values.element_size() == 1:  # the 8-bit types have no minimum
            values = values.float()
        # The minimum and the maximum of values with a NaN are NaN.
        if not all(torch.isfinite(end) for end in torch.aminmax(values.detach())):
            return name
    return None


def read_tensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read the tensors and the metadata of a checkpoint, and verify its content hash.

    Raises:
        CheckpointError: The file is missing, truncated, damaged or in another format.
    """
    path = Path(path)
    metadata = read_metadata(path)
    if metadata.get("format") != FORMAT:
        found = metadata.get("format", "none")[:80]
        raise CheckpointError(
            f"{path}: not a checkpoint of this zoo (format {FORMAT!r} expected, found {found!r}); "
            "use 'zoo convert' for published weights"
        )
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: truncated or not a safetensors file ({error})") from error
    if content_hash(tensors, metadata) != metadata.get("content"):
        raise CheckpointError(f"{path}: damaged: its contents do not match the stored hash")
    return tensors, metadata
