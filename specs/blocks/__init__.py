"""The table of blocks. Each file defines one block: its arguments, checks, costs and activations.

Imports nothing else of the project.
"""

from __future__ import annotations

from specs.blocks.attention import Attention
from specs.blocks.base import Arguments, Block, Costs, Scene
from specs.blocks.conv import Conv
from specs.blocks.down import Down
from specs.blocks.resnet import Resnet
from specs.blocks.size import Size
from specs.blocks.temporal_attention import TemporalAttention
from specs.blocks.temporal_conv import TemporalConv
from specs.blocks.time_down import TimeDown
from specs.blocks.time_up import TimeUp
from specs.blocks.up import Up

__all__ = ["BLOCKS", "Arguments", "Block", "Costs", "Scene", "Size"]

#: Every block a spec may name.
BLOCKS: dict[str, type[Block]] = {
    block.name: block
    for block in (Resnet, Attention, Conv, Down, Up, TemporalAttention, TemporalConv, TimeDown, TimeUp)
}
