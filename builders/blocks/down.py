"""Downsampling by a strided convolution."""

from __future__ import annotations

from torch import Tensor, nn

from builders.blocks.frames import as_clips, as_rows
from specs.blocks.down import DownArguments

__all__ = ["Down"]


class Down(nn.Module):
    """Module of the block ``specs.blocks.down``."""

    def __init__(self, args: DownArguments, in_channels: int, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, width, 3, stride=args.factor, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Downsample every frame.

        Args:
            x: Features (batch, in_channels, [frames,] height, width).

        Returns:
            Features (batch, channels, [frames,] height / factor, width / factor).
        """
        return as_clips(self.conv(as_rows(x)), x)
