"""A zoo of Matryoshka diffusion models, each a few lines of YAML.

    import zoo

    zoo.list("mdm-*")                      # names
    entry = zoo.get("mdm-s1024")           # or a path to a YAML file
    entry.card()                           # parameters, MACs, FLOPs by level
    model = entry.build(device="meta")     # a torch.nn.Module

The names are defined in ``registry`` and imported at their first use; torch is imported by the first ``build``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from registry.catalogue import build, get
    from registry.catalogue import list_names as list
    from registry.entry import Entry

__all__ = ["Entry", "__version__", "build", "get", "list"]

__version__ = "0.2.0"

#: Modules and names that the public names stand for.
_DEFINED = {
    "Entry": ("registry.entry", "Entry"),
    "build": ("registry.catalogue", "build"),
    "get": ("registry.catalogue", "get"),
    "list": ("registry.catalogue", "list_names"),
}


def __getattr__(name: str) -> Any:
    if name not in _DEFINED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module, defined = _DEFINED[name]
    return globals().setdefault(name, getattr(import_module(module), defined))


def __dir__() -> list[str]:  # type: ignore[valid-type]
    return sorted(__all__)
