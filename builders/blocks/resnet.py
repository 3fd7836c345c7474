"""Residual block scaled and shifted by the time embedding."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from builders.blocks.frames import as_clips, as_rows, for_frames
from builders.blocks.initialization import zero
from specs.blocks.resnet import ResnetArguments

__all__ = ["Resnet"]


class Resnet(nn.Module):
    """Module of the block ``specs.blocks.resnet``.

    Args:
        args: Arguments of the node.
        in_channels: Channels of the input, after merging.
        width: Channels of the output.
        time_width: Width E of the time embedding.
    """

    def __init__(self, args: ResnetArguments, in_channels: int, width: int, *, time_width: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(args.groups, in_channels)
        self.conv1 = nn.Conv2d(in_channels, width, 3, padding=1)
        self.time = nn.Linear(time_width, 2 * width)
        self.norm2 = nn.GroupNorm(args.groups, width)
        self.dropout = nn.Dropout(args.dropout)
        self.conv2 = zero(nn.Conv2d(width, width, 3, padding=1))
        self.shortcut = nn.Conv2d(in_channels, width, 1) if in_channels != width else nn.Identity()

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Apply the block.

        Args:
            x: Features (batch, in_channels, [frames,] height, width); every frame by itself.
            time: Time embedding (batch, E), after its activation; the same for all frames of a clip.

        Returns:
            Features (batch, channels, [frames,] height, width) with ``width`` channels.
        """
        rows = as_rows(x)
        h = self.conv1(functional.silu(self.norm1(rows)))
        scale, shift = for_frames(self.time(time), x)[:, :, None, None].chunk(2, dim=1)
        h = functional.silu(torch.addcmul(shift, self.norm2(h), 1 + scale))
        return as_clips(self.shortcut(rows) + self.conv2(self.dropout(h)), x)
