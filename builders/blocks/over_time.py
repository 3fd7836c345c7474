"""Convolution over the frames of clips, at each place by itself."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["ConvOverTime"]


class ConvOverTime(nn.Conv1d):
    """Convolution over frames, with zeros beyond both ends of a clip.

    Its weight is that of a ``Conv1d``, (channels, in_channels, kernel). It is computed as a two-dimensional one over
    (frames, places), whose kernel is one place wide: this needs no row for each place.

    Args:
        in_channels: Channels of the input.
        width: Channels of the output.
        kernel: Length of the kernel in frames, odd.
        stride: Number of input frames for one output frame.
    """

    def __init__(self, in_channels: int, width: int, kernel: int, stride: int = 1) -> None:
        super().__init__(in_channels, width, kernel, stride=stride, padding=kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, in_channels, frames, height, width) to (batch, channels, frames / stride, height, width)."""
        stride, padding = (self.stride[0], 1), (self.kernel_size[0] // 2, 0)
        y = functional.conv2d(x.flatten(3), self.weight.unsqueeze(3), self.bias, stride, padding)
        return y.unflatten(3, x.shape[3:])

    def start_as_identity(self) -> None:
        """Set the weight to copy each channel of the middle frame, and to zero elsewhere."""
        with torch.no_grad():
            nn.init.dirac_(self.weight)
            if self.bias is not None:
                self.bias.zero_()
