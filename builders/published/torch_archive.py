"""Reading the tensors of a ``.pth`` checkpoint without running the program in it.

A checkpoint of ``torch.save`` is a zip archive of a pickle and one record of raw bytes per storage. It is read by
``torch.load(weights_only=True)`` after the checks that torch leaves out: on a crafted file, torch alone may run out of
memory, hang or crash.
"""

from __future__ import annotations

import os
import pickle
import pickletools
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from builders.checkpoints.file_kinds import describe_weights
from builders.files import open_regular
from builders.published.pickle_stack import PickleStack

__all__ = ["ArchiveError", "read_state_dict", "state_dict_names"]

MAX_FILE_BYTES = 64 << 30
MAX_PICKLE_BYTES = 32 << 20
MAX_OPERATIONS = 4_000_000
MAX_NAMES = 1_000
MAX_RECORDS = 200_000
#: Tied weights are stored once and named several times. More repetition than this is no checkpoint.
MAX_REPETITION = 4
#: Depth to which a checkpoint is searched for state dicts.
MAX_DEPTH = 4
#: Usual names of the state dict in a checkpoint, best first.
USUAL = ("state_dict", "model_state_dict", "model", "module", "net", "unet")


class ArchiveError(ValueError):
    """A checkpoint cannot be read; the message says why."""


def read_state_dict(path: str | os.PathLike[str], name: str | None = None) -> dict[str, Tensor]:
    """Read the tensors of a checkpoint written by ``torch.save``.

    The state dict may be the whole checkpoint or a part of it. A prefix ``module.`` shared by all its names is removed.

    Args:
        path: A ``.pth`` or ``.pt`` file in the zip format of torch 1.6 and later.
        name: Name of one of several state dicts, as in :func:`state_dict_names`. Default: the most usual one.

    Returns:
        Tensors by name, on the CPU, contiguous, each with its own memory.

    Raises:
        ArchiveError: The file is missing, truncated, compressed, in an old format, inconsistent, or has no tensors.
    """
    found = _state_dicts(_load(path))
    if not found:
        raise ArchiveError(f"{path}: no tensors in this checkpoint")
    tensors = dict(_tensors(found[_choose(found, name, path)], path))
    wanted = sum(tensor.nbytes for tensor in tensors.values())
    size = os.path.getsize(path)
    if wanted > MAX_REPETITION * size:
        raise ArchiveError(f"{path}: its tensors take {wanted} bytes, but it stores only {size}")
    if all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    return {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}


def state_dict_names(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Return the names of the state dicts in a checkpoint, such as ``state_dict``; ``""`` for the whole checkpoint.

    Raises:
        ArchiveError: As :func:`read_state_dict`.
    """
    return tuple(_state_dicts(_load(path)))


def _load(path: str | os.PathLike[str]) -> Any:
    """Return the contents of a checkpoint with mapped tensors, and an empty object for each foreign object."""
    program = _read_pickle(path)
    try:
        names = _inspect(program)
        with _stand_ins(names):
            return torch.load(os.fspath(path), map_location="cpu", mmap=True, weights_only=True)
    except (MemoryError, RecursionError):
        raise ArchiveError(f"{path}: its pickle is nested too deeply") from None
    except Exception as error:  # a damaged pickle raises almost anything
        # The context is the reason without torch's advice to run the file.
        reason = str(error.__context__ or error).strip().partition("\n")[0].partition(". ")[0]
        raise ArchiveError(f"{path}: its pickle cannot be read ({reason[:200]})") from None


class _Foreign:
    """Stand-in for an object of a class that is not torch's: takes any arguments and state, and ignores them."""

    def __new__(cls, *args: object, **kwargs: object) -> _Foreign:
        return super().__new__(cls)

    def __init__(self, *args: object, **kwargs: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


@contextmanager
def _stand_ins(names: set[tuple[str, str]]) -> Iterator[None]:
    """Let ``torch.load`` create stand-ins for these classes and functions; those that torch knows are its own."""
    before = torch.serialization.get_safe_globals()
    kinds: list[Any] = [type(name, (_Foreign,), {"__module__": module}) for module, name in names]
    torch.serialization.add_safe_globals(kinds)
    try:
        yield
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)


def _inspect(program: bytes) -> set[tuple[str, str]]:
    """Return the classes and functions, (module, name), that a pickle names.

    Raises:
        Exception: Of almost any kind: the pickle is damaged, or reading it takes too much time or memory.
    """
    names: set[tuple[str, str]] = set()
    stack = PickleStack()
    for count, (operation, argument, _) in enumerate(pickletools.genops(program)):
        if count > MAX_OPERATIONS:
            raise pickle.UnpicklingError(f"more than {MAX_OPERATIONS} instructions")
        if operation.name == "PROTO" and argument != 2:
            raise pickle.UnpicklingError(f"pickle protocol {argument}; torch reads its own default alone, which is 2")
        if operation.name == "GLOBAL":
            module, _, name = str(argument).partition(" ")
            # Protocol 2 has the names of Python 2.
            names.add(NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name)))
            if len(names) > MAX_NAMES:
                raise pickle.UnpicklingError(f"more than {MAX_NAMES} names")
        stack.run(operation, argument)
    return names


def _read_pickle(path: str | os.PathLike[str]) -> bytes:
    """Check the zip file of a checkpoint, and return the pickle in it."""
    file = Path(path)
    if file.is_dir():
        raise ArchiveError(f"{path}: a directory, not a checkpoint{_candidates(file)}")
    try:
        size = file.stat().st_size
        with open_regular(file) as stream:
            start = stream.read(4)
    except (OSError, ValueError) as error:
        raise ArchiveError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    if size > MAX_FILE_BYTES:
        raise ArchiveError(f"{path}: {size} bytes, more than the limit of {MAX_FILE_BYTES}")
    if not start.startswith(b"PK"):
        raise ArchiveError(f"{path}: {_described(file)}")
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
            if not any(map(_is_program, names)) or any("/code/" in name for name in names):
                raise ArchiveError(_described(file))
            _check_records(archive.infolist(), size)
            damaged = archive.testzip()
            if damaged is not None:
                raise ArchiveError(f"record {damaged!r} is damaged")
            return archive.read(_program(archive.namelist()))
    except ArchiveError as error:
        raise ArchiveError(f"{path}: {error}") from None
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, UnicodeDecodeError, EOFError, OSError) as error:
        raise ArchiveError(f"{path}: a damaged or truncated checkpoint ({error})") from None


def _described(path: Path) -> str:
    """Say what a file is that is no checkpoint of torch."""
    found = describe_weights(path)
    return f"not a checkpoint that can be read{f': this is {found}' if found else ''}"


def _candidates(folder: Path) -> str:
    """Name a file of a directory that may be meant."""
    names = sorted(child.name for child in folder.iterdir() if child.suffix in (".pth", ".pt", ".ckpt", ".bin"))
    return f"; give a file in it, such as {names[0][:80]}" if names else "; give a .pth file"


def _check_records(records: list[zipfile.ZipInfo], size: int) -> None:
    """Check that the records of a file of ``size`` bytes are stored one after another, each with its own name."""
    if len(records) > MAX_RECORDS:
        raise ArchiveError(f"{len(records)} records, more than the limit of {MAX_RECORDS}")
    if len({record.filename for record in records}) < len(records):
        raise ArchiveError("two records have one name")
    end = 0
    for record in sorted(records, key=lambda record: record.header_offset):
        if record.compress_type != zipfile.ZIP_STORED or record.file_size != record.compress_size:
            raise ArchiveError(f"record {record.filename!r} is compressed, which torch.save never does")
        if record.header_offset < end:
            raise ArchiveError(f"record {record.filename!r} overlaps the one before it")
        end = record.header_offset + 30 + record.file_size
        if end > size:
            raise ArchiveError(f"record {record.filename!r} reaches beyond the file; is it truncated?")
        if record.filename.endswith("/data.pkl") and record.file_size > MAX_PICKLE_BYTES:
            raise ArchiveError(f"record {record.filename!r} is larger than {MAX_PICKLE_BYTES} bytes")


def _program(names: list[str]) -> str:
    """Return the name of the record that holds the pickle."""
    programs = [name for name in names if _is_program(name)]
    if len(programs) != 1:
        raise ArchiveError(f"not a checkpoint written by torch.save: {len(programs)} records are called data.pkl")
    return programs[0]


def _is_program(name: str) -> bool:
    return name.count("/") == 1 and name.endswith("/data.pkl")


def _state_dicts(root: Any) -> dict[str, Mapping[Any, Any]]:
    """Return the mappings that hold tensors directly, by their dotted path of keys, without those of optimizers."""
    found: dict[str, Mapping[Any, Any]] = {}
    seen: set[int] = set()

    def walk(value: Any, path: tuple[str, ...]) -> None:
        if not isinstance(value, Mapping) or id(value) in seen or len(path) > MAX_DEPTH:
            return
        seen.add(id(value))
        if any(isinstance(item, Tensor) for item in value.values()):
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


def _tensors(state: Mapping[Any, Any], path: object) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of a state dict with their names; other values are ignored."""
    for name, tensor in state.items():
        if not isinstance(tensor, Tensor):
            continue
        if not isinstance(name, str):
            raise ArchiveError(f"{path}: a tensor without a name (its key is a {type(name).__name__})")
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
            raise ArchiveError(
                f"{path}: {name[:80]!r} is a sparse, quantized or meta tensor, which cannot be converted"
            )
        yield name, tensor.detach()
