"""More frames, by repetition and a convolution over time."""

from __future__ import annotations

from torch import Tensor, nn

from builders.blocks.frames import frames_outermost
from builders.blocks.over_time import ConvOverTime
from specs.blocks.time_up import KERNEL, TimeUpArguments

__all__ = ["TimeUp"]


class TimeUp(nn.Module):
    """Module of the block ``specs.blocks.time_up``.

    y = w *_t repeat(x) + b, each frame ``factor`` times, with zeros beyond the ends. It starts as the repetition, with
    the first channels if there are fewer.

    Args:
        args: Arguments of the node.
        in_channels: Channels of the input.
        width: Channels of the output.
    """

    def __init__(self, args: TimeUpArguments, in_channels: int, width: int) -> None:
        super().__init__()
        self.factor = args.factor
        self.conv = ConvOverTime(in_channels, width, KERNEL)
        self.conv.start_as_identity()

    def forward(self, x: Tensor) -> Tensor:
        """Increase the number of frames.

        Args:
            x: Features (batch, in_channels, frames, height, width).

        Returns:
            Features (batch, channels, frames * factor, height, width), with the frames outermost in memory.
        """
        return frames_outermost(self.conv(x.repeat_interleave(self.factor, dim=2)))
