"""Nearest-neighbor upsampling followed by a convolution."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from specs.blocks.up import UpArguments

__all__ = ["Up"]


class Up(nn.Module):
    """Module of the block ``specs.blocks.up``."""

    def __init__(self, args: UpArguments, in_channels: int, width: int) -> None:
        super().__init__()
        self.factor = args.factor
        self.conv = nn.Conv2d(in_channels, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, in_channels, height, width) to (batch, channels, height * factor, width * factor)."""
        return self.conv(functional.interpolate(x, scale_factor=self.factor, mode="nearest"))
