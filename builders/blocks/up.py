"""Nearest-neighbor upsampling followed by a convolution."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from builders.blocks.frames import as_clips, as_rows
from specs.blocks.up import UpArguments

__all__ = ["Up"]


class Up(nn.Module):
    """Module of the block ``specs.blocks.up``."""

    def __init__(self, args: UpArguments, in_channels: int, width: int) -> None:
        super().__init__()
        self.factor = args.factor
        self.conv = nn.Conv2d(in_channels, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Upsample every frame.

        Args:
            x: Features (batch, in_channels, [frames,] height, width).

        Returns:
            Features (batch, channels, [frames,] height * factor, width * factor).
        """
        repeated = functional.interpolate(as_rows(x), scale_factor=self.factor, mode="nearest")
        return as_clips(self.conv(repeated), x)
