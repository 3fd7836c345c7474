"""What the table of blocks says of each block: shapes, complaints, costs and memory, counted by hand."""

from __future__ import annotations

import pytest

from specs.blocks import BLOCKS, Costs, Scene, Size
from specs.blocks.base import Activations, convolution, divisible, linear, norm

TIME, TEXT = Scene(20), Scene(20, text_width=12, tokens=5)


def rule(name, *, in_channels=32, width=32, side=4, frames=1, scene=TIME, **args):
    """Costs and activations of one block."""
    block = BLOCKS[name]
    arguments = (block.arguments(args.items()), in_channels, width, Size(side, frames), scene)
    return block.costs(*arguments), block.activations(*arguments)


def test_costs_are_added_by_kind():
    assert Costs(1, 20, 300) + Costs(5, 60, 700) == Costs(6, 80, 1000)
    assert Costs() == Costs(0, 0, 0)


def test_layers():
    """Weights and biases; a multiply-add of each weight at each position."""
    assert convolution(3, 5, 7, positions=11) == Costs(3 * 5 * 49 + 5, 3 * 5 * 49 * 11)
    assert linear(3, 5) == Costs(3 * 5 + 5, 15)
    assert linear(3, 5, rows=7) == Costs(3 * 5 + 5, 3 * 5 * 7)
    assert linear(3, 5, rows=7, bias=False) == Costs(3 * 5, 3 * 5 * 7)
    assert norm(6) == Costs(12)


@pytest.mark.parametrize("kernel", [1, 5])
def test_convolution_keeps_the_resolution_and_its_input_alone(kernel):
    costs, memory = rule("conv", in_channels=6, width=10, kernel=kernel)
    assert costs == Costs(6 * 10 * kernel**2 + 10, 6 * 10 * kernel**2 * 16)
    assert memory == Activations(0, 0, keeps_input=True)
    assert BLOCKS["conv"].output_size(BLOCKS["conv"].arguments([]), Size(24, 3)) == Size(24, 3)


@pytest.mark.parametrize("factor", [2, 4])
def test_down_computes_at_every_factor_th_pixel(factor):
    costs, memory = rule("down", in_channels=6, width=10, side=8, factor=factor)
    assert costs == Costs(6 * 10 * 9 + 10, 6 * 10 * 9 * (8 // factor) ** 2)
    assert memory == Activations(0, 0, keeps_input=True)


@pytest.mark.parametrize("factor", [2, 3])
def test_up_convolves_the_repeated_input(factor):
    costs, memory = rule("up", in_channels=6, width=10, factor=factor)
    pixels = (4 * factor) ** 2
    assert costs == Costs(6 * 10 * 9 + 10, 6 * 10 * 9 * pixels)
    # What is kept and held is the repeated input, made by the block; the input itself is not kept.
    assert memory == Activations(6 * pixels, 6 * pixels, keeps_input=False)


@pytest.mark.parametrize(
    ("name", "factor", "before", "after"), [("down", 2, 8, 4), ("down", 4, 8, 2), ("up", 3, 8, 24)]
)
def test_sizes(name, factor, before, after):
    block = BLOCKS[name]
    size = block.output_size(block.arguments([("factor", factor)]), Size(before, 5))
    assert size == Size(after, 5) and type(size.side) is int


@pytest.mark.parametrize(("in_channels", "shortcut"), [(32, 0), (64, 64 * 32 + 32)])
def test_resnet(in_channels, shortcut):
    costs, _ = rule("resnet", in_channels=in_channels, groups=8)
    norms = 2 * in_channels + 2 * 32
    convolutions = in_channels * 32 * 9 + 32 * 32 * 9
    assert costs.parameters == norms + convolutions + 2 * 32 + (20 * 64 + 64) + shortcut
    assert costs.macs == 16 * convolutions + 20 * 64 + (16 * 64 * 32 if shortcut else 0)
    assert costs.encode_macs == 0


@pytest.mark.parametrize(
    ("in_channels", "width", "workspace"),
    [
        # Output of the second norm and its SiLU, beside the output.
        (32, 32, 32 + 32),
        # Output of the first norm and its SiLU.
        (96, 32, 96 + 96),
        # Output of the second SiLU, of the second convolution, and of the shortcut.
        (32, 64, 64 + 64 + 64),
        (64, 48, 48 + 48 + 48),
    ],
)
def test_memory_of_resnet(in_channels, width, workspace):
    _, memory = rule("resnet", in_channels=in_channels, width=width, groups=8)
    # First norm and SiLU; first convolution, second norm, scaled and shifted, SiLU; the scale; means and deviations.
    assert memory.saved == 16 * (2 * in_channels + 4 * width) + width + 2 * (8 + 8)
    assert memory.workspace == 16 * workspace and memory.keeps_input
    _, wet = rule("resnet", in_channels=in_channels, width=width, groups=8, dropout=0.1)
    assert wet.saved == memory.saved + 16 * width and wet.workspace == memory.workspace


def test_attention():
    """Norm, queries, keys, values and output as Linear layers on 16 pixels; scores and weighted sums of 16 x 16."""
    costs, memory = rule("attention", heads=4, groups=8)
    assert costs == Costs(64 + 3 * 32 * 32 + 96 + 32 * 32 + 32, 16 * 4 * 32 * 32 + 2 * 16 * 16 * 32)
    # Norm, three projections, result in two layouts (one where a single head needs none), log-sum-exp, mean, deviation.
    assert memory == Activations(6 * 16 * 32 + 4 * 16 + 2 * 8, 6 * 16 * 32)
    assert rule("attention", heads=1, groups=8)[1].saved == 5 * 16 * 32 + 1 * 16 + 2 * 8
    assert rule("attention", heads=2, groups=8)[1].saved == 6 * 16 * 32 + 2 * 16 + 2 * 8


def test_attention_to_text():
    """Keys and values are made of the tokens once per prompt; each step computes scores and sums of 16 x 5."""
    alone, before = rule("attention", heads=4, groups=8)
    costs, memory = rule("attention", heads=4, groups=8, scene=TEXT)
    assert costs.parameters == alone.parameters + 2 * 12 + 12 * 64 + 64
    assert costs.macs == alone.macs + 2 * 16 * 5 * 32
    assert costs.encode_macs == 5 * 12 * 64
    # The normalized tokens, their keys and values, mean and deviation of each; a second result with its log-sum-exp.
    assert memory.saved == before.saved + 5 * (12 + 64 + 2) + 16 * 32 + 4 * 16
    assert memory.workspace == before.workspace
    without = rule("attention", heads=4, groups=8, scene=TEXT, text=False)
    assert without == (alone, before)


def test_feed_forward():
    alone, before = rule("attention", heads=4, groups=8)
    costs, memory = rule("attention", heads=4, groups=8, feed_forward=True)
    assert costs.parameters == alone.parameters + 64 + 2 * (32 * 128) + 128 + 32
    assert costs.macs == alone.macs + 2 * 16 * 32 * 128
    # The sum that it reads, the norm of that with its statistics, and input and output of the activation, 4x as wide.
    assert memory.saved == before.saved + 16 * 32 * (1 + 1 + 4 + 4) + 2 * 8
    # The sum, and both sides of the activation.
    assert memory.workspace == 16 * 32 * (1 + 4 + 4)


def test_which_blocks_read_text():
    block = BLOCKS["attention"]
    for text, expected in (("auto", True), (True, True), (False, False)):
        args = block.arguments([("text", text)])
        assert block.reads_text(args, TEXT) is expected and not block.reads_text(args, TIME)
    for name, other in BLOCKS.items():
        assert other.name == name
        assert other.temporal is name.startswith(("temporal_", "time_"))
        if name != "attention":
            assert other.reads_text(other.arguments([]), TEXT) is False


def complaints(name, in_channels, width, side=8, frames=1, **args):
    block = BLOCKS[name]
    return block.check(block.arguments(args.items()), in_channels, width, Size(side, frames))


def test_what_divides_has_no_complaint():
    assert divisible("width", 64, "groups", 32) == []
    for name in BLOCKS:
        assert complaints(name, 64, 64, frames=4) == []
    assert complaints("resnet", 96, 32) == [] and complaints("conv", 5, 7) == []


@pytest.mark.parametrize(
    ("channels", "number", "near"), [(30, 8, 32), (33, 8, 32), (3, 8, 8), (20, 8, 16), (1, 32, 32)]
)
def test_the_nearest_width_that_divides_is_named(channels, number, near):
    message = f"width {channels} is not divisible by {number} groups; the nearest valid width is {near}"
    assert divisible("width", channels, "groups", number) == [("bad-width", message)]


def test_what_resnet_cannot_divide():
    width = ("bad-width", "width 20 is not divisible by 8 groups; the nearest valid width is 16")
    given = ("bad-width", "input width 12 is not divisible by 8 groups; the nearest valid width is 16")
    assert complaints("resnet", 16, 20, groups=8) == [width]
    assert complaints("resnet", 12, 16, groups=8) == [given]
    assert complaints("resnet", 12, 20, groups=8) == [width, given]
    # The same width in and out is said once.
    assert complaints("resnet", 20, 20, groups=8) == [width]


def test_what_attention_cannot_divide():
    groups = ("bad-width", "width 20 is not divisible by 8 groups; the nearest valid width is 16")
    heads = ("bad-width", "width 20 is not divisible by 3 heads; the nearest valid width is 21")
    kept = ("bad-width", "attention does not change the width, but it reads 16 channels and has width 20")
    assert complaints("attention", 20, 20, groups=8, heads=4) == [groups]
    assert complaints("attention", 20, 20, groups=4, heads=3) == [heads]
    assert complaints("attention", 16, 20, groups=8, heads=3) == [groups, heads, kept]


def test_down_divides_the_resolution():
    assert complaints("down", 4, 4, side=9, factor=3) == []
    assert complaints("down", 4, 4, side=8, factor=3) == [("bad-resolution", "8 pixels are not divisible by 3")]


def test_sizes_of_feature_maps():
    assert (Size(6).pixels, Size(6).positions, Size(6, 4).pixels, Size(6, 4).positions) == (36, 36, 36, 144)
    assert (str(Size(6)), str(Size(6, 4)), Size(6, 4).short) == ("6 pixels", "6 pixels, 4 frames", "6 px, 4 frames")
    assert Size(6, 4).with_side(3) == Size(3, 4) != Size(3)


@pytest.mark.parametrize("scene", [TIME, TEXT])
@pytest.mark.parametrize("name", ["resnet", "attention", "conv", "down", "up"])
def test_spatial_blocks_treat_each_frame_as_an_image(name, scene):
    """Costs and memory grow with the frames, except what is done once per clip; parameters do not."""
    block = BLOCKS[name]
    given = {"resnet": {"groups": 8}, "attention": {"groups": 8, "feed_forward": True}}
    args = block.arguments(given.get(name, {}).items())
    image = block.costs(args, 32, 32, Size(4), scene)
    clip = block.costs(args, 32, 32, Size(4, 3), scene)
    once = scene.time_width * 2 * 32 if name == "resnet" else 0
    assert clip == Costs(image.parameters, 3 * (image.macs - once) + once, image.encode_macs)
    before, found = (block.activations(args, 32, 32, Size(4, frames), scene) for frames in (1, 3))
    # The norm of the text, with its statistics.
    once = scene.tokens * (12 + 2) if name == "attention" else 0
    assert found == Activations(3 * (before.saved - once) + once, 3 * before.workspace, before.keeps_input)
