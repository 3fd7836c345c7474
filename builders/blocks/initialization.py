"""Initialization of weights."""

from __future__ import annotations

from typing import TypeVar

from torch import nn

__all__ = ["zero"]

Layer = TypeVar("Layer", nn.Conv1d, nn.Conv2d, nn.Linear)


def zero(layer: Layer) -> Layer:
    """Set a layer's weights to zero, so that the branch it ends starts at zero (arXiv 2310.15111, appendix B)."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
