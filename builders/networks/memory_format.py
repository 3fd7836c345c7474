"""The order in memory in which convolutions compute."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["put_channels_last"]


def put_channels_last(network: nn.Module) -> None:
    """Let convolutions compute with the channels of a pixel next to each other in memory (NHWC), in place.

    Their weights are laid out so, and the first convolution of a level passes the layout on to the layers after it.
    Values, names and shapes do not change, results do by rounding. Call this before an optimizer takes the parameters.
    """
    network.to(memory_format=torch.channels_last)
