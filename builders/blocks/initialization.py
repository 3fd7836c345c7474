"""How weights start."""

from __future__ import annotations

from typing import TypeVar

from torch import nn

__all__ = ["zero"]

Layer = TypeVar("Layer", nn.Conv2d, nn.Linear)


def zero(layer: Layer) -> Layer:
    """Make a layer start as zero, so that the branch it ends starts as nothing (arXiv 2310.15111, appendix B)."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
