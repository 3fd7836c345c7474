"""Public names: names that packages re-export lazily, and old names of moved modules.

For example, ``builders.diffusion.noise_schedule`` is defined in ``builders.diffusion.schedules``, which is imported at
first use. Module names from before version 0.2, such as ``builders.process``, still work with a warning.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Sequence
from functools import cache, partial
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = ["moved_method", "offer"]

_TABLE = Path(__file__).with_suffix(".txt")


def offer(package: str) -> Callable[[str], Any]:
    """Return a ``__getattr__`` for a package that finds the public names of its modules.

    Args:
        package: Name of the package, with a line in ``public_names.txt``.
    """
    return partial(_find, package)


def moved_method(module: str, name: str) -> Callable[..., Any]:
    """Return a method of version 0.1 that calls the function which replaces it, with a warning.

    Args:
        module: Module of the function, imported at the first call.
        name: Name of the function and of the method.
    """

    def method(self: Any, *args: Any, **options: Any) -> Any:
        text = f"{type(self).__name__}.{name} is now {module}.{name}; the method will be removed in version 0.3"
        warnings.warn(text, FutureWarning, stacklevel=2)
        return getattr(import_module(module), name)(self, *args, **options)

    return method


@cache
def _table() -> dict[str, tuple[tuple[str, ...], dict[str, str]]]:
    """Return, for each package or old module, the modules that define its names, and the names that changed."""
    table = {}
    for line in _TABLE.read_text(encoding="utf-8").splitlines():
        name, colon, rest = line.partition(": ")
        if colon and not line.startswith("#"):
            top = name.partition(".")[0]
            words = rest.split()
            modules = tuple(w if w.partition(".")[0] in _TARGETS else f"{top}.{w}" for w in words if "=" not in w)
            table[name] = (modules, dict(word.split("=") for word in words if "=" in word))
    return table


_TOP = ("specs", "builders", "registry")
_TARGETS = (*_TOP, "zoo")


def _find(package: str, name: str) -> Any:
    modules, renamed = _table()[package]
    if name == "__all__":  # read by "from builders.process import *"
        return sorted({*renamed, *(each for module in modules for each in _public(import_module(module)))})
    if not name.startswith("_"):
        for module in modules:
            found = import_module(module)
            if hasattr(found, renamed.get(name, name)):
                return getattr(found, renamed.get(name, name))
        try:
            return import_module(f"{package}.{name}")
        except ModuleNotFoundError as error:
            if error.name != f"{package}.{name}":
                raise
    raise AttributeError(f"module {package!r} has no attribute {name!r}")


def _public(module: ModuleType) -> Sequence[str]:
    return getattr(module, "__all__", None) or [name for name in vars(module) if not name.startswith("_")]


class _Moved(MetaPathFinder, Loader):
    """Imports modules by their old names."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        top, dot, _ = fullname.partition(".")
        return ModuleSpec(fullname, self) if dot and top in _TOP and fullname in _table() else None

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        name = module.__name__
        now = " and ".join(_table()[name][0])
        warnings.warn(f"{name} is now {now}; the old name will be removed in version 0.3", FutureWarning, stacklevel=2)
        module.__dict__["__getattr__"] = partial(_find, name)


sys.meta_path.append(_Moved())
