"""Residual convolution over frames."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from builders.blocks.frames import as_clips, as_rows, frames_outermost
from builders.blocks.initialization import zero
from builders.blocks.over_time import ConvOverTime
from specs.blocks.temporal_conv import TemporalConvArguments

__all__ = ["TemporalConv"]


class TemporalConv(nn.Module):
    """Module of the block ``specs.blocks.temporal_conv``.

    y = x + w *_t silu(GroupNorm(x)) + b. The norm is over the pixels of one frame. The convolution is zero at first,
    so that the block starts as the identity (Make-A-Video, arXiv 2209.14792; Video LDM, arXiv 2304.08818).

    Args:
        args: Arguments of the node.
        in_channels: Channels of the input, equal to ``width``.
        width: Channels of the output.
    """

    def __init__(self, args: TemporalConvArguments, in_channels: int, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(args.groups, width)
        self.conv = zero(ConvOverTime(in_channels, width, args.kernel))

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channels, frames, height, width) to the same shape, with the frames outermost in memory."""
        h = as_clips(functional.silu(self.norm(as_rows(x))), x)
        return frames_outermost(x + self.conv(h))
