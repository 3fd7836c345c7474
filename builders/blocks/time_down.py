"""Fewer frames, by a convolution over time with stride."""

from __future__ import annotations

from torch import Tensor, nn

from builders.blocks.frames import frames_outermost
from builders.blocks.over_time import ConvOverTime
from specs.blocks.time_down import TimeDownArguments

__all__ = ["TimeDown"]


class TimeDown(nn.Module):
    """Module of the block ``specs.blocks.time_down``.

    y_j = b + sum of w_i x_(factor j + i), i from -h to h, h = factor // 2, with zeros beyond the ends. It starts as the
    first frame of each group, with the first channels if there are fewer.

    Args:
        args: Arguments of the node.
        in_channels: Channels of the input.
        width: Channels of the output.
    """

    def __init__(self, args: TimeDownArguments, in_channels: int, width: int) -> None:
        super().__init__()
        self.conv = ConvOverTime(in_channels, width, args.kernel, stride=args.factor)
        self.conv.start_as_identity()

    def forward(self, x: Tensor) -> Tensor:
        """Reduce the number of frames.

        Args:
            x: Features (batch, in_channels, frames, height, width).

        Returns:
            Features (batch, channels, frames / factor, height, width), with the frames outermost in memory.
        """
        return frames_outermost(self.conv(x))
