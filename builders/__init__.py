"""From a checked graph to a trained model: networks, diffusion process, samplers, data, training.

Modules are imported when they are first used: after ``import builders``, ``builders.diffusion.noise_schedule`` works.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module
from typing import TYPE_CHECKING, Any

import specs.public_names  # noqa: F401  (modules by their names before 0.2)

if TYPE_CHECKING:
    from builders.networks.nested_unet import NestedUNet, build_model

__all__ = ["NestedUNet", "build_model"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("builders.networks.nested_unet"), name)
    if not name.startswith("_"):
        try:
            return import_module(f"builders.{name}")
        except ModuleNotFoundError as error:
            if error.name != f"builders.{name}":
                raise
    raise AttributeError(f"module 'builders' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *(module.name for module in pkgutil.iter_modules(__path__))})
