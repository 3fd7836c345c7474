"""A single convolution."""

from __future__ import annotations

from torch import Tensor, nn

from builders.blocks.frames import as_clips, as_rows
from specs.blocks.conv import ConvArguments

__all__ = ["Conv"]


class Conv(nn.Module):
    """Module of the block ``specs.blocks.conv``."""

    def __init__(self, args: ConvArguments, in_channels: int, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, width, args.kernel, padding=args.kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, in_channels, [frames,] height, width) to (batch, channels, [frames,] height, width)."""
        return as_clips(self.conv(as_rows(x)), x)
