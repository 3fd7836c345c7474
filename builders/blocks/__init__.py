"""Torch modules of the blocks, one file per block, with the file names of ``specs/blocks``.

Imports `specs.blocks`, `specs.graph`.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from builders.blocks.attention import Attention
from builders.blocks.conv import Conv
from builders.blocks.down import Down
from builders.blocks.resnet import Resnet
from builders.blocks.temporal_attention import TemporalAttention
from builders.blocks.temporal_conv import TemporalConv
from builders.blocks.time_down import TimeDown
from builders.blocks.time_up import TimeUp
from builders.blocks.up import Up
from specs.blocks import BLOCKS, Scene
from specs.graph import Node

__all__ = ["MODULES", "build_block"]

MODULES: dict[str, Any] = {
    "resnet": Resnet,
    "attention": Attention,
    "conv": Conv,
    "down": Down,
    "up": Up,
    "temporal_attention": TemporalAttention,
    "temporal_conv": TemporalConv,
    "time_down": TimeDown,
    "time_up": TimeUp,
}


def build_block(node: Node, in_channels: int, scene: Scene) -> nn.Module:
    """Build the module of a graph node.

    Args:
        node: Node with the block's name, arguments and output width.
        in_channels: Channels of the input, after merging.
        scene: Widths of the time embedding and the text tokens around the block.
    """
    block = BLOCKS[node.block]
    args = block.arguments(node.args)
    ports: dict[str, Any] = {}
    if "time" in block.ports:
        ports["time_width"] = scene.time_width
    if "text" in block.ports:
        ports["text_width"] = scene.text_width if block.reads_text(args, scene) else None
    return MODULES[node.block](args, in_channels, node.width, **ports)
