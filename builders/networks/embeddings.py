"""Embeddings of numbers: the time and the micro inputs."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from builders.blocks.initialization import zero
from specs.graph import FRAME_RATE

__all__ = ["MicroEmbedding", "TimeEmbedding", "sinusoids"]


def sinusoids(values: Tensor, count: int) -> Tensor:
    """Return sinusoids of several frequencies.

    Args:
        values: Numbers (batch,).
        count: Number of sinusoids, even.

    Returns:
        Sines, then cosines, of the values times exp(-ln(10000) k / (count / 2)), (batch, count) float32.
    """
    half = count // 2
    steps = torch.arange(half, device=values.device, dtype=torch.float32)
    angles = values.float()[:, None] * torch.exp(steps * (-math.log(10000) / half))
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class TimeEmbedding(nn.Module):
    """Time embedding of a level: sinusoids, Linear, SiLU, Linear; plus conditions; then SiLU.

    The last SiLU is the first operation of every block that reads the time. It is computed once here.

    Args:
        width: Width E of the embedding.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(width // 4, width)
        self.linear2 = nn.Linear(width, width)

    def forward(self, t: Tensor, condition: Tensor) -> Tensor:
        """Map time indices ``t`` (batch,) and ``condition`` (batch, E) to (batch, E)."""
        waves = sinusoids(t, self.linear1.in_features).to(self.linear1.weight.dtype)
        return functional.silu(self.linear2(functional.silu(self.linear1(waves))) + condition)


class MicroEmbedding(nn.Module):
    """Embedding of a micro input; its last layer is initialized to zero.

    A ``scale`` above the default, the level's resolution, counts as the default: downsampling makes no image sharper.
    A ``frame_rate`` is in frames a second, of which 30 count as 1. That and any other input is a fraction, scaled to
    0..1000.

    Args:
        name: Name of the input.
        default: Value for samples without one.
        width: Width E of the embedding.
    """

    def __init__(self, name: str, default: float, width: int) -> None:
        super().__init__()
        self.is_scale = name == "scale"
        #: What counts as 1.
        self.unit = FRAME_RATE if name == "frame_rate" else 1
        self.default = default
        self.linear1 = nn.Linear(width // 4, width)
        self.linear2 = zero(nn.Linear(width, width))

    def forward(self, value: Tensor) -> Tensor:
        """Map ``value`` (batch,), NaN for the default, to (batch, E)."""
        value = torch.where(value.isnan(), self.default, value)
        value = (value / self.default).clamp(max=1) * self.default if self.is_scale else value * (1000 / self.unit)
        waves = sinusoids(value, self.linear1.in_features).to(self.linear1.weight.dtype)
        return self.linear2(functional.silu(self.linear1(waves)))
