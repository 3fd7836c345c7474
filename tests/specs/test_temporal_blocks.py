"""Rules of the blocks over frames: shapes, complaints, costs and memory, counted by hand."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from specs.blocks import BLOCKS, Costs, Size
from specs.blocks.base import Activations, convolution_over_time
from tests.specs.test_blocks import complaints, rule

W, SIDE, FRAMES = 32, 4, 6
#: Values of one channel.
P = FRAMES * SIDE**2


def temporal(name, **args):
    return rule(name, width=args.pop("width", W), side=SIDE, frames=FRAMES, **args)


def output_size(name, size, **args):
    block = BLOCKS[name]
    return block.output_size(block.arguments(args.items()), size)


def test_a_convolution_over_time():
    assert convolution_over_time(3, 5, 7, positions=11) == Costs(3 * 5 * 7 + 5, 3 * 5 * 7 * 11)


def test_attention_over_frames():
    attention = Costs(2 * W + 3 * W**2 + 3 * W + W**2 + W, 4 * W**2 * P + 2 * W * FRAMES * P)
    feed_forward = Costs(2 * W + 8 * W**2 + 5 * W, 8 * W**2 * P)
    costs, memory = temporal("temporal_attention", feed_forward=False)
    assert costs == attention
    # Sequences, norm, queries, keys, values, result; scores of 8 heads, statistics of the norm.
    assert memory == Activations(6 * W * P + 10 * P, 8 * W * P, keeps_input=False)
    costs, memory = temporal("temporal_attention")
    assert costs == attention + feed_forward
    assert memory == Activations(16 * W * P + 12 * P, 8 * W * P, keeps_input=False)
    # Queries and keys that are not turned are no copies.
    _, plain = temporal("temporal_attention", feed_forward=False, positions="none")
    assert plain == Activations(6 * W * P + 10 * P, 5 * W * P, keeps_input=False)
    assert temporal("temporal_attention", positions="none") == (costs, memory)


def test_attention_over_frames_on_a_smaller_grid():
    whole, _ = rule("temporal_attention", side=SIDE // 2, frames=FRAMES)
    costs, memory = temporal("temporal_attention", factor=2)
    convolution = 9 * W**2 + W
    assert costs == whole + Costs(2 * convolution, 9 * W**2 * (P // 4 + P))
    assert memory == Activations((16 * W + 12) * P // 4 + W * P, 2 * W * P + W * P // 4)
    assert type(costs.macs) is int and type(memory.saved) is int
    _, small = temporal("temporal_attention", factor=4)
    assert small == Activations((16 * W + 12) * P // 16 + W * P, 2 * W * P + W * P // 16)


@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_residual_convolution_over_frames(kernel):
    costs, memory = temporal("temporal_conv", groups=8, kernel=kernel)
    assert costs == Costs(2 * W + kernel * W**2 + W, kernel * W**2 * P)
    assert memory == Activations(2 * W * P + 2 * 8 * FRAMES, 2 * W * P)


@pytest.mark.parametrize(("factor", "kernel"), [(2, 3), (3, 3), (6, 7)])
def test_steps_in_time(factor, kernel):
    costs, memory = temporal("time_down", in_channels=5, width=7, factor=factor)
    assert costs == Costs(kernel * 5 * 7 + 7, kernel * 5 * 7 * P // factor)
    assert memory == Activations(0, 7 * P // factor if factor < 6 else 0)
    costs, memory = temporal("time_up", in_channels=5, width=7, factor=factor)
    assert costs == Costs(3 * 5 * 7 + 7, 3 * 5 * 7 * P * factor)
    assert memory == Activations(5 * P * factor, 7 * P * factor, keeps_input=False)


def test_sizes():
    assert output_size("time_down", Size(9, 12), factor=4) == Size(9, 3)
    assert type(output_size("time_down", Size(9, 12), factor=4).frames) is int
    assert output_size("time_up", Size(9, 3), factor=4) == Size(9, 12)
    assert output_size("temporal_conv", Size(9, 3)) == Size(9, 3)
    assert output_size("temporal_attention", Size(9, 3), factor=3) == Size(9, 3)


def test_frames_that_do_not_divide():
    assert complaints("time_down", 4, 4, frames=8, factor=4) == []
    message = "6 frames cannot be divided by 4"
    assert complaints("time_down", 4, 4, frames=6, factor=4) == [("bad-frames", message)]
    assert complaints("time_down", 4, 4, frames=1) == [("bad-frames", "1 frame cannot be divided by 2")]
    assert complaints("time_up", 4, 6, frames=1) == []


def test_widths_of_attention():
    assert complaints("temporal_attention", 24, 24, heads=4) == []
    pairs = (
        "heads of 3 channels have no rotary positions, which turn pairs of channels; the nearest valid width is 16, "
        "or write 'positions: none'"
    )
    assert complaints("temporal_attention", 12, 12, heads=4) == [("bad-width", pairs)]
    assert complaints("temporal_attention", 12, 12, heads=4, positions="none") == []
    assert complaints("temporal_attention", 4, 4, heads=4) == [
        ("bad-width", pairs.replace("heads of 3", "heads of 1").replace("16", "8"))
    ]
    heads = "width 12 is not divisible by 8 heads; the nearest valid width is 16"
    assert complaints("temporal_attention", 12, 12) == [("bad-width", heads)]
    kept = "temporal_attention does not change the width, but it reads 8 channels and has width 16"
    assert complaints("temporal_attention", 8, 16) == [("bad-width", kept)]
    grid = "9 pixels are not divisible by 2"
    assert complaints("temporal_attention", 16, 16, side=9, factor=2) == [("bad-resolution", grid)]


def test_widths_of_the_convolution():
    groups = "width 12 is not divisible by 8 groups; the nearest valid width is 16"
    kept = "temporal_conv does not change the width, but it reads 8 channels and has width 12"
    assert complaints("temporal_conv", 8, 12, groups=8) == [("bad-width", groups), ("bad-width", kept)]


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("temporal_conv", {"kernel": 4}),
        ("temporal_conv", {"kernel": 33}),
        ("temporal_attention", {"positions": "learnt"}),
        ("temporal_attention", {"factor": 0}),
        ("time_down", {"factor": 1}),
        ("time_up", {"factor": 65}),
    ],
)
def test_arguments_that_no_block_has(name, args):
    with pytest.raises(ValidationError):
        BLOCKS[name].arguments(args.items())
