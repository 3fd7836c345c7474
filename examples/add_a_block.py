"""Add a block: a gated depthwise convolution that specs can name like any other.

A block has two halves. The spec half knows its arguments, its shapes and its costs, without torch. The torch half is
the module. In the project they are specs/blocks/NAME.py and builders/blocks/NAME.py.
"""

from typing import Literal

from pydantic import Field
from torch import Tensor, nn

import zoo
from builders.blocks import MODULES
from builders.blocks.frames import as_clips, as_rows
from registry.costs.counters import verify
from specs.blocks import BLOCKS, Arguments, Block, Costs
from specs.blocks.base import Activations, convolution
from specs.load import load_text


class GatedConvArguments(Arguments):
    """Arguments of ``gated_conv``. Each needs a default."""

    kernel: Literal[3, 5, 7] = Field(default=3, description="side length of the kernel in pixels")


class GatedConv(Block):
    """y = x + proj(sigmoid(depthwise(x)) * x)."""

    name = "gated_conv"
    summary = "a gated depthwise convolution with a residual; keeps width and resolution"
    equation = "y = x + w_p (sigmoid(w_d * x) x)"
    source = "this example"
    Args = GatedConvArguments

    @classmethod
    def check(cls, args, in_channels, width, size):
        # zoo check reports this at the line of the node.
        if in_channels != width:
            return [("bad-width", f"gated_conv keeps its width: {in_channels} channels in, {width} out")]
        return []

    @classmethod
    def costs(cls, args, in_channels, width, size, scene):
        pixels = size.positions
        depthwise = Costs(in_channels * (args.kernel**2 + 1), in_channels * args.kernel**2 * pixels)
        return depthwise + convolution(in_channels, width, 1, pixels)

    @classmethod
    def activations(cls, args, in_channels, width, size, scene):
        # Autograd saves the gate and the product; the largest temporary beside input and output is one of them.
        elements = in_channels * size.positions
        return Activations(saved=2 * elements, workspace=elements)


class GatedConvModule(nn.Module):
    """The module of ``gated_conv``."""

    def __init__(self, args: GatedConvArguments, in_channels: int, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(in_channels, in_channels, args.kernel, padding=args.kernel // 2, groups=in_channels)
        self.proj = nn.Conv2d(in_channels, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        rows = as_rows(x)  # the frames of clips as rows of images; images as they are
        return as_clips(rows + self.proj(self.depthwise(rows).sigmoid() * rows), x)


# Both halves go into their tables. From here on specs may name the block.
BLOCKS["gated_conv"] = GatedConv
MODULES["gated_conv"] = GatedConvModule

entry = load_text("""
name: gated
resolution: 32
stages:
  r32: {width: 32, depth: 1, blocks: [resnet, {block: gated_conv, kernel: 5}]}
  r16: {width: 64, depth: 1}
""")
model = zoo.build(entry)
print([node.name for level in entry.graph.levels for node in level.nodes if node.block == "gated_conv"])

# The rules must agree with the module. zoo show NAME --verify prints this for an entry.
rules, fvcore, torch = verify(entry.graph)
print(f"{rules.parameters:,} parameters, {rules.macs:,} MACs")
assert (rules.parameters, rules.macs) == (torch.parameters, torch.macs) == (fvcore.parameters, fvcore.macs)
