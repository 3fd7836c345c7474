"""Downsampling by a strided convolution."""

from __future__ import annotations

from torch import Tensor, nn

from specs.blocks.down import DownArguments

__all__ = ["Down"]


class Down(nn.Module):
    """Module of the block ``specs.blocks.down``."""

    def __init__(self, args: DownArguments, in_channels: int, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, width, 3, stride=args.factor, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, in_channels, height, width) to (batch, channels, height / factor, width / factor)."""
        return self.conv(x)
