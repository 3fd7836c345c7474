"""Spatial blocks on clips: every frame is an image of its own."""

from __future__ import annotations

import pytest
import torch

from builders.blocks import build_block
from specs.blocks import BLOCKS, Scene
from specs.graph import Node
from tests.helpers.networks import randomise

CLIPS, FRAMES, SIDE = 2, 3, 8
WITH_TEXT = Scene(time_width=20, text_width=12, tokens=5)
WITHOUT_TEXT = Scene(time_width=20)
CASES = [
    ("resnet", (("groups", 8),), 32, 32, WITHOUT_TEXT),
    ("resnet", (("groups", 8),), 32, 64, WITHOUT_TEXT),
    ("attention", (("heads", 4),), 32, 32, WITHOUT_TEXT),
    ("attention", (("heads", 4),), 32, 32, WITH_TEXT),
    ("attention", (("feed_forward", True), ("heads", 4)), 32, 32, WITH_TEXT),
    ("conv", (), 32, 48, WITHOUT_TEXT),
    ("conv", (("kernel", 1),), 32, 48, WITHOUT_TEXT),
    ("down", (), 32, 48, WITHOUT_TEXT),
    ("down", (("factor", 4),), 32, 48, WITHOUT_TEXT),
    ("up", (), 32, 16, WITHOUT_TEXT),
    ("up", (("factor", 4),), 32, 16, WITHOUT_TEXT),
]


class Built:
    """A block with random weights and what it reads, for clips and for each of their frames."""

    def __init__(self, name, args, in_channels, width, scene, order="frames"):
        torch.manual_seed(0)
        self.block = BLOCKS[name]
        self.module = build_block(Node("x", name, width, args, ("stem",)), in_channels, scene)
        randomise(self.module)
        x = torch.randn(CLIPS, FRAMES, in_channels, SIDE, SIDE).transpose(1, 2)
        self.x = x.contiguous() if order == "channels" else x
        self.others = []
        if "time" in self.block.ports:
            self.others.append(torch.randn(CLIPS, scene.time_width))
        if scene.text_width:
            tokens = torch.randn(CLIPS, scene.tokens, scene.text_width)
            mask = torch.tensor([[1.0, 1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0, 1.0]])[:, None, None]
            self.others += [self.module.text(tokens).detach(), mask]

    def on_clips(self):
        return self.module(self.x, *self.others)

    def on_frame(self, frame):
        """Return what the block makes of one frame of every clip, as images."""
        return self.module(self.x[:, :, frame], *self.others)


@pytest.mark.parametrize("order", ["frames", "channels"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_frame_is_an_image(case, order):
    built = Built(*case, order)
    with torch.no_grad():
        whole = built.on_clips()
        assert whole.shape[:3] == (CLIPS, case[3], FRAMES)
        for frame in range(FRAMES):
            # Rows of two images: torch has another convolution for a single one, which rounds differently.
            assert torch.equal(whole[:, :, frame], built.on_frame(frame))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_outputs_have_the_frames_outermost_in_memory(case):
    assert Built(*case).on_clips().transpose(1, 2).is_contiguous()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_gradients_are_those_of_the_frames(case):
    built = Built(*case)
    built.module.double()
    built.x, built.others = built.x.double(), [other.double() for other in built.others]
    inputs = [built.x, *built.others]
    for tensor in inputs:
        tensor.requires_grad_()
    of = [*inputs, *built.module.parameters()]
    weights = torch.randn(built.on_clips().shape, dtype=torch.float64)
    whole = torch.autograd.grad((built.on_clips() * weights).sum(), of, allow_unused=True)
    frames = sum((built.on_frame(frame) * weights[:, :, frame]).sum() for frame in range(FRAMES))
    apart = torch.autograd.grad(frames, of, allow_unused=True)
    for one, other in zip(whole, apart, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_the_cases_are_all_blocks_that_leave_the_frames_alone():
    assert {case[0] for case in CASES} == {"resnet", "attention", "conv", "down", "up"} <= set(BLOCKS)
