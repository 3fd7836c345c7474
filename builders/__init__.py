"""From a checked graph to a trained model: networks, diffusion process, samplers, data, training.

Modules load when they are first touched: ``builders.process.noise_schedule`` needs no import but ``import builders``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from builders import checkpoint, data, images, network, process, published, samplers, training
    from builders.network import NestedUNet, build_model

__all__ = [
    "NestedUNet",
    "build_model",
    "checkpoint",
    "data",
    "images",
    "network",
    "process",
    "published",
    "samplers",
    "training",
]

_FROM_NETWORK = ("NestedUNet", "build_model")


def __getattr__(name: str) -> Any:
    if name in _FROM_NETWORK:
        return getattr(import_module("builders.network"), name)
    if name in __all__:
        return import_module(f"builders.{name}")
    raise AttributeError(f"module 'builders' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
