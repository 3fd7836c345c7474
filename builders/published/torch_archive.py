"""Reading the tensors of a ``.pth`` checkpoint without running what else is in it.

A checkpoint written by ``torch.save`` is a zip archive: a pickle that describes objects (read by
:mod:`builders.published.unpickler`), and one record of raw bytes per storage. Tensors are cut from the records, every
bound checked, with memory that the size of the file limits.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from builders.published.unpickler import Placeholder, TensorRecord, unpickle

__all__ = ["ArchiveError", "read_state_dict", "state_dict_names"]

MAX_FILE_BYTES = 64 << 30
MAX_PICKLE_BYTES = 32 << 20
MAX_RECORDS = 200_000
#: Tied weights may be stored once and named several times; more repetition than this is no checkpoint.
MAX_REPETITION = 4
MAX_DEPTH = 4
CHUNK = 16 << 20
#: Where a state dict usually stands in a checkpoint, best first.
USUAL = ("state_dict", "model_state_dict", "model", "module", "net", "unet")


class ArchiveError(ValueError):
    """A checkpoint cannot be read, or is not what it should be; the message says why."""


def read_state_dict(path: str | os.PathLike[str], name: str | None = None) -> dict[str, Tensor]:
    """The tensors of a checkpoint written by ``torch.save``, by name, on the CPU, each with memory of its own.

    The state dict may be the whole checkpoint or stand inside it; a prefix ``module.`` that all its names share is
    dropped.

    Args:
        path: a ``.pth`` or ``.pt`` file in the zip format (torch 1.6 and later).
        name: which of several state dicts, as :func:`state_dict_names` calls them; default: the most usual one.

    Raises:
        ArchiveError: the file is missing, truncated, compressed, in an old format, inconsistent, or holds no
            tensors.
    """
    with _open(path) as archive:
        found = _state_dicts(archive.unpickle())
        if not found:
            raise ArchiveError(f"{path}: no tensors in this checkpoint")
        chosen = _choose(found, name, path)
        return archive.materialize(_clean(found[chosen], path))


def state_dict_names(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Where the state dicts of a checkpoint stand in it, such as ``state_dict``; ``""`` is the whole of it.

    Raises:
        ArchiveError: as :func:`read_state_dict`.
    """
    with _open(path) as archive:
        return tuple(_state_dicts(archive.unpickle()))


def _open(path: str | os.PathLike[str]) -> _Archive:
    file = Path(path)
    if file.is_dir():
        raise ArchiveError(f"{path}: a directory, not a checkpoint")
    try:
        size = file.stat().st_size
        with open(file, "rb") as stream:
            start = stream.read(512)
    except OSError as error:
        raise ArchiveError(f"{path}: {error.strerror or error}") from None
    if size > MAX_FILE_BYTES:
        raise ArchiveError(f"{path}: {size} bytes, more than the limit of {MAX_FILE_BYTES}")
    if not start.startswith(b"PK"):
        raise ArchiveError(f"{path}: {_what_instead(start)}")
    try:
        return _Archive(path, zipfile.ZipFile(file), size)
    except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError, OSError) as error:
        raise ArchiveError(f"{path}: a damaged or truncated checkpoint ({error})") from None


def _what_instead(start: bytes) -> str:
    again = "load it where you trust it and write it again with torch.save"
    if not start:
        return "an empty file"
    if start[:1] == b"\x80" or start[:2] in (b"(d", b"}q"):
        return f"a checkpoint in the pickle format of torch before 1.6; {again}"
    if start[257:262] == b"ustar":
        return f"a checkpoint in the tar format of torch before 0.4; {again}"
    if start[8:9] == b"{":
        return "a safetensors file; it holds tensors alone and needs no conversion of its format"
    if start.lstrip()[:1] in (b"<", b"v") and (b"<html" in start.lower() or b"git-lfs" in start):
        return "a web page or a pointer to a file, not the file itself; download it again"
    return "not a checkpoint written by torch.save"


class _Archive:
    """The zip file of a checkpoint: stored records, none compressed, none overlapping, none named twice."""

    def __init__(self, path: str | os.PathLike[str], file: zipfile.ZipFile, size: int) -> None:
        self.path, self.file = path, file
        try:
            self._check(size)
        except ArchiveError:
            file.close()
            raise

    def __enter__(self) -> _Archive:
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()

    def _fail(self, message: str) -> ArchiveError:
        return ArchiveError(f"{self.path}: {message}")

    def _check(self, size: int) -> None:
        entries = self.file.infolist()
        if len(entries) > MAX_RECORDS:
            raise self._fail(f"{len(entries)} records, more than the limit of {MAX_RECORDS}")
        end = 0
        for entry in sorted(entries, key=lambda entry: entry.header_offset):
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
                raise self._fail(f"record {entry.filename!r} is compressed, which torch.save never does")
            if entry.header_offset < end:
                raise self._fail(f"record {entry.filename!r} overlaps the one before it")
            end = entry.header_offset + 30 + entry.file_size
            if end > size:
                raise self._fail(f"record {entry.filename!r} reaches beyond the file; is it truncated?")
        self.records = {entry.filename: entry for entry in entries}
        if len(self.records) < len(entries):
            raise self._fail("two records have one name")
        programs = [name for name in self.records if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(programs) != 1:
            has = "TorchScript code" if any("/code/" in name for name in self.records) else "no data.pkl"
            raise self._fail(f"a zip file, but not a checkpoint written by torch.save ({has})")
        self.program = programs[0]
        self.folder = self.program.removesuffix("data.pkl")
        order = self.folder + "byteorder"
        if order in self.records and self._read(order, 16) != b"little":
            raise self._fail("written on a big-endian machine")

    def _read(self, name: str, limit: int) -> bytearray:
        size = self.records[name].file_size
        if size > limit:
            raise self._fail(f"record {name!r} is larger than {limit} bytes")
        data = bytearray(size)
        try:
            with self.file.open(name) as stream:
                # In pieces, so that a record is in memory once; reading to its end checks its checksum.
                for start in range(0, size, CHUNK):
                    piece = stream.read(min(CHUNK, size - start))
                    if len(piece) != min(CHUNK, size - start):
                        raise EOFError("it ends early")
                    data[start : start + len(piece)] = piece
            return data
        except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError) as error:
            raise self._fail(f"record {name!r} is damaged ({error})") from None

    def unpickle(self) -> Any:
        """What the pickle describes, with records for tensors and placeholders for all that is unknown."""
        program = bytes(self._read(self.program, MAX_PICKLE_BYTES))
        try:
            return unpickle(program)
        except (MemoryError, RecursionError):
            raise self._fail("its pickle is nested too deeply") from None
        except Exception as error:  # a damaged pickle raises almost anything
            raise self._fail(f"its pickle cannot be read ({error})") from None

    def materialize(self, records: Mapping[str, TensorRecord]) -> dict[str, Tensor]:
        """The tensors, storage by storage, each bound checked before any memory is taken."""
        storages: dict[str, list[str]] = {}
        for name, record in records.items():
            self._check_tensor(name, record)
            storages.setdefault(record.storage.key, []).append(name)
        wanted = sum(record.elements * record.storage.dtype.itemsize for record in records.values())
        stored = sum(self.records[self._storage(key)].file_size for key in storages)
        if wanted > MAX_REPETITION * stored:
            raise self._fail(f"its tensors name {wanted} bytes, but it stores only {stored}")
        result: dict[str, Tensor] = {}
        for key, names in storages.items():
            data = self._read(self._storage(key), MAX_FILE_BYTES)
            for name in names:
                result[name] = _cut(data, records[name], alone=len(names) == 1)
        return {name: result[name] for name in records}

    def _storage(self, key: str) -> str:
        return f"{self.folder}data/{key}"

    def _check_tensor(self, name: str, record: TensorRecord) -> None:
        storage = record.storage
        place = self.records.get(self._storage(storage.key))
        if place is None:
            raise self._fail(f"tensor {name!r}: its storage {storage.key} is missing")
        if storage.length * storage.dtype.itemsize != place.file_size:
            raise self._fail(
                f"tensor {name!r}: its storage has {place.file_size} bytes, not {storage.length} {storage.dtype}"
            )
        last = record.offset + sum((n - 1) * step for n, step in zip(record.shape, record.strides, strict=True))
        if record.elements and last >= storage.length:
            raise self._fail(f"tensor {name!r} of shape {record.shape} reaches beyond its storage")
        if record.elements > storage.length:
            raise self._fail(f"tensor {name!r} of shape {record.shape} repeats its storage")


def _cut(data: bytearray, record: TensorRecord, alone: bool) -> Tensor:
    if not record.elements:
        return torch.empty(record.shape, dtype=record.storage.dtype)
    whole = torch.frombuffer(data, dtype=record.storage.dtype)
    view = whole.as_strided(record.shape, record.strides, record.offset)
    if alone and view.is_contiguous() and view.numel() == whole.numel():
        return view
    return view.clone(memory_format=torch.contiguous_format)


def _state_dicts(root: Any) -> dict[str, Mapping[Any, Any]]:
    """Mappings that hold tensors directly, by the path of keys that leads to them; optimizers are passed over."""
    found: dict[str, Mapping[Any, Any]] = {}
    seen: set[int] = set()

    def walk(value: Any, path: tuple[str, ...]) -> None:
        if not isinstance(value, Mapping) or id(value) in seen or len(path) > MAX_DEPTH:
            return
        seen.add(id(value))
        if any(isinstance(item, TensorRecord) for item in value.values()):
            found[".".join(path)] = value
            return
        for key, item in value.items():
            if isinstance(key, str) and "optim" not in key.lower():
                walk(item, (*path, key))

    walk(root, ())
    return found


def _choose(found: Mapping[str, object], name: str | None, path: object) -> str:
    if name is not None:
        if name not in found:
            names = ", ".join(repr(key) for key in found)
            raise ArchiveError(f"{path}: holds no state dict {name!r}; it has {names}")
        return name
    usual = [key for key in USUAL if key in found]
    return usual[0] if usual else next(iter(found))


def _clean(state: Mapping[Any, Any], path: object) -> dict[str, TensorRecord]:
    tensors = dict(_tensors(state, path))
    if all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    return tensors


def _tensors(state: Mapping[Any, Any], path: object) -> Iterator[tuple[str, TensorRecord]]:
    for key, value in state.items():
        if isinstance(value, TensorRecord):
            if not isinstance(key, str):
                raise ArchiveError(f"{path}: a tensor without a name (its key is a {type(key).__name__})")
            yield key, value
        elif isinstance(value, Placeholder) and value.origin.startswith("torch."):
            raise ArchiveError(f"{path}: {str(key)[:80]!r} is a {value.origin}, which is not read here")
