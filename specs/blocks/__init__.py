"""The closed table of blocks: one file a block, each holding what the language must know of it."""

from __future__ import annotations

from specs.blocks.attention import Attention
from specs.blocks.base import Arguments, Block, Costs, Scene
from specs.blocks.conv import Conv
from specs.blocks.down import Down
from specs.blocks.resnet import Resnet
from specs.blocks.up import Up

__all__ = ["BLOCKS", "Arguments", "Block", "Costs", "Scene"]

#: Every block a spec may name.
BLOCKS: dict[str, type[Block]] = {block.name: block for block in (Resnet, Attention, Conv, Down, Up)}
