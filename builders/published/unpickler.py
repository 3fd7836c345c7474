"""A pickle as data: what it describes, with nothing it names looked up, imported or called.

A pickle is a program. Here it runs in an unpickler that knows dictionaries, storages, and the two functions by which
torch rebuilds a tensor or a parameter, all of them replaced by inert records. Every other class or function it names
(an ``argparse.Namespace``, a configuration class, ``os.system``) becomes an empty placeholder.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

__all__ = ["Placeholder", "Storage", "TensorRecord", "unpickle"]

MAX_OPERATIONS = 4_000_000
MAX_NAMES = 1_000
MAX_DIMENSIONS = 16

STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


def unpickle(program: bytes) -> Any:
    """What a pickle describes.

    Raises:
        Exception: of almost any kind, where the pickle is damaged or does what no checkpoint needs.
    """
    _inspect(program)
    return _Unpickler(io.BytesIO(program), encoding="utf-8").load()


class _Inert:
    """Base of the records: a pickle can neither set their state nor add attributes."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("state for a tensor")


@dataclass(frozen=True)
class Storage(_Inert):
    """Raw numbers in the record ``key`` of the archive."""

    __slots__ = ("dtype", "key", "length")
    key: str
    dtype: torch.dtype
    length: int


@dataclass(frozen=True)
class TensorRecord(_Inert):
    """A tensor still to be cut from its storage; offset and strides in elements."""

    __slots__ = ("offset", "shape", "storage", "strides")
    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def elements(self) -> int:
        """How many numbers it has."""
        count = 1
        for side in self.shape:
            count *= side
        return count


class Placeholder(dict):
    """Stands for an object of any class the reader does not know: takes whatever a pickle does to it, keeps items."""

    origin = "?"

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__()

    def __new__(cls, *args: object, **kwargs: object) -> Placeholder:
        return super().__new__(cls)

    def __setstate__(self, state: object) -> None:
        pass

    def append(self, item: object) -> None:
        """Ignored."""

    def extend(self, items: object) -> None:
        """Ignored."""

    def add(self, item: object) -> None:
        """Ignored."""

    __hash__ = object.__hash__  # type: ignore[assignment]
    __eq__ = object.__eq__


class _Function(_Inert):
    """A function a pickle may call but cannot change."""

    __slots__ = ("run",)

    def __init__(self, run: Callable[..., object]) -> None:
        self.run = run

    def __call__(self, *args: object) -> object:
        return self.run(*args)


def _is_size(value: object) -> bool:
    return type(value) is int and 0 <= value < 1 << 62


def _rebuild_tensor(storage: object, offset: object, shape: object, strides: object, *rest: object) -> TensorRecord:
    if not isinstance(storage, Storage) or not _is_size(offset):
        raise pickle.UnpicklingError("a tensor without a storage")
    for sizes in (shape, strides):
        if not isinstance(sizes, tuple) or len(sizes) > MAX_DIMENSIONS or not all(map(_is_size, sizes)):
            raise pickle.UnpicklingError("a tensor whose shape or strides are no sizes")
    if len(shape) != len(strides):  # type: ignore[arg-type]
        raise pickle.UnpicklingError("a tensor whose shape and strides differ in length")
    return TensorRecord(storage, offset, shape, strides)  # type: ignore[arg-type]


def _rebuild_parameter(data: object, *rest: object) -> object:
    return data


def _dictionary(*args: object) -> OrderedDict[Any, Any]:
    return OrderedDict()


def _shape(sizes: object = ()) -> object:
    return sizes


KNOWN: Mapping[tuple[str, str], _Function] = {
    ("torch._utils", "_rebuild_tensor_v2"): _Function(_rebuild_tensor),
    ("torch._utils", "_rebuild_parameter"): _Function(_rebuild_parameter),
    ("collections", "OrderedDict"): _Function(_dictionary),
    ("torch", "Size"): _Function(_shape),
}


def _check_keys(keys: Iterable[object]) -> None:
    """Refuse keys that nest tuples: hashing them takes time exponential in their depth."""
    for key in keys:
        parts = key if isinstance(key, (tuple, frozenset)) else ()
        if any(isinstance(part, (tuple, frozenset)) for part in parts):
            raise pickle.UnpicklingError("a dictionary or set with nested tuples for keys")


#: The one written in Python, so that keys can be looked at before they are hashed.
_Python: Any = pickle._Unpickler


class _Unpickler(_Python):
    """Runs a pickle with the records above in the place of everything it names."""

    dispatch: ClassVar[dict[int, Any]] = dict(_Python.dispatch)

    def __init__(self, file: Any, **options: Any) -> None:
        super().__init__(file, **options)
        self.placeholders: dict[tuple[str, str], type] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in KNOWN:
            return KNOWN[module, name]
        if module == "torch" and name in STORAGES:
            return STORAGES[name]
        if (module, name) not in self.placeholders:
            if len(self.placeholders) >= MAX_NAMES:
                raise pickle.UnpicklingError(f"more than {MAX_NAMES} foreign names")
            kind = type("Placeholder", (Placeholder,), {"origin": f"{module}.{name}"[:200]})
            self.placeholders[module, name] = kind
        return self.placeholders[module, name]

    # What stands on the stack is looked at before it is hashed.
    def load_setitem(self) -> None:
        _check_keys(self.stack[-2:-1])
        super().load_setitem()

    def load_setitems(self) -> None:
        _check_keys(self.stack[::2])
        super().load_setitems()

    def load_dict(self) -> None:
        _check_keys(self.stack[::2])
        super().load_dict()

    def load_additems(self) -> None:
        _check_keys(self.stack)
        super().load_additems()

    def load_frozenset(self) -> None:
        _check_keys(self.stack)
        super().load_frozenset()

    dispatch[pickle.SETITEM[0]] = load_setitem
    dispatch[pickle.SETITEMS[0]] = load_setitems
    dispatch[pickle.DICT[0]] = load_dict
    dispatch[pickle.ADDITEMS[0]] = load_additems
    dispatch[pickle.FROZENSET[0]] = load_frozenset

    def persistent_load(self, pid: Any) -> Storage:
        if not isinstance(pid, tuple) or len(pid) != 5 or pid[0] != "storage":
            raise pickle.UnpicklingError("a reference to something that is no storage")
        _, dtype, key, _, length = pid
        if not isinstance(dtype, torch.dtype):
            raise pickle.UnpicklingError("a storage of a type that is not read here")
        if not isinstance(key, str) or not re.fullmatch(r"[0-9]{1,12}", key) or not _is_size(length):
            raise pickle.UnpicklingError("a storage with a malformed name or length")
        return Storage(key, dtype, length)


def _inspect(program: bytes) -> None:
    """Refuse a pickle whose instructions alone could exhaust memory or time."""
    for operations, (operation, argument, _) in enumerate(pickletools.genops(program), start=1):
        if operations > MAX_OPERATIONS:
            raise pickle.UnpicklingError(f"more than {MAX_OPERATIONS} instructions")
        if operation.name.startswith("EXT"):
            raise pickle.UnpicklingError("an extension code")
        if operation.name.endswith("PUT") and isinstance(argument, int) and argument > operations:
            # The unpickler keeps a table as long as the largest index.
            raise pickle.UnpicklingError("a memo index out of order")
