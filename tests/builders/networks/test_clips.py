"""Networks with levels of clips: frames by themselves, rows, shapes and their errors."""

from __future__ import annotations

import re

import pytest
import torch

from builders.networks.nested_unet import build_model
from specs.load import load_text
from tests.helpers.networks import noise, randomise

#: Levels nested in space, without a step in time: of clips, or of images without what is in angle brackets.
SPACE = """
name: space
resolution: 16
<frames: 3>
head: {groups: 4}
defaults: {resnet: {groups: 4}, attention: {groups: 4, heads: 2}<, temporal_conv: {groups: 4}>}
stages:
  r16: {width: 8, blocks: [resnet<, temporal_conv>]}
  r8: {width: 12, attention: 1}
nest:
  resolution: 8
  <frames: 3>
  inputs: {text: {width: 6, tokens: 5, mask_attention: true}, scale: {}}
  head: {groups: 4}
  normalize_input: true
  defaults: {resnet: {groups: 4}, attention: {groups: 4, heads: 2, feed_forward: true}}
  stages:
    r8: {width: 8, blocks: [resnet<, {block: temporal_attention, heads: 2, factor: 2}>]}
    r4: {width: 8, attention: 1}
  middle: [resnet, attention<, {block: temporal_attention, heads: 2}>]
"""


def build(*, clips):
    return build_model(load_text(re.sub("<(.*?)>", r"\1" if clips else "", SPACE)).graph)


@pytest.fixture(scope="module")
def space():
    return randomise(build(clips=True))


def of_images(key):
    """The name of a parameter in a network of images."""
    return key.replace("levels.r16f3.", "levels.r16.").replace("levels.r8f3.", "levels.r8.")


@torch.no_grad()
def test_levels_without_steps_in_time_start_as_levels_of_images(space):
    """With spatial weights of any values, and blocks over frames as they are at the start."""
    clips, images = build(clips=True).eval(), build(clips=False).eval()
    spatial = {key: value for key, value in space.state_dict().items() if "temporal" not in key}
    assert len(spatial) < len(space.state_dict())
    clips.load_state_dict(spatial, strict=False)
    images.load_state_dict({of_images(key): value for key, value in spatial.items()})
    z, t = noise(clips.graph, [2, 3]), [3, 500, 900]
    given = {
        "text": torch.randn(3, 5, 6, generator=torch.Generator().manual_seed(3)),
        "text_mask": torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0]]),
        "scale": [8, 16, 30],
    }
    found = clips(z, t, **given)
    assert [tuple(x.shape) for x in found] == [tuple(x.shape) for x in z]
    for frame in range(3):
        wanted = images([x[:, :, frame] for x in z], t, **given)
        for a, b in zip(found, wanted, strict=True):
            assert (a[:, :, frame] - b).abs().max() == 0


@torch.no_grad()
def test_rows_that_an_outer_level_lacks_change_nothing_for_the_others(space):
    z = noise(space.graph, [1, 3])
    mixed = space(z, [3, 500, 900])
    alone = space([x[:1] for x in z], 3)
    torch.testing.assert_close([x[:1] for x in mixed], alone)


@torch.no_grad()
def test_clips_without_steps_in_time_have_any_number_of_frames(space):
    z = [torch.cat([x, x], 2)[:, :, :5] for x in noise(space.graph, 1)]
    assert [x.shape for x in space(z, 7)] == [x.shape for x in z]


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (
            [(1, 3, 16, 16), (1, 3, 3, 8, 8)],
            "the input of level r16f3 has shape (1, 3, 16, 16), not (rows, 3, frames, height, width)",
        ),
        ([(1, 3, 4, 16, 16), (1, 3, 3, 8, 8)], "level r16f3 has the frames of r8f3, but their inputs have 4 and 3"),
        ([(1, 3, 0, 16, 16), (1, 3, 0, 8, 8)], "the input of level r16f3 has no frames"),
        ([(1, 3, 3, 17, 16), (1, 3, 3, 8, 8)], "level r16f3 needs sides that are multiples of 2, not 17x16"),
        (
            [(1, 3, 3, 32, 16), (1, 3, 3, 8, 8)],
            "level r16f3 is 2 times the side of r8f3, but their inputs are (32, 16) and (8, 8)",
        ),
        ([(2, 3, 3, 16, 16), (1, 3, 3, 8, 8)], "level r16f3 has 2 rows, more than r8f3 (1)"),
    ],
)
def test_clips_that_do_not_fit_say_why(space, shapes, message):
    with pytest.raises(ValueError, match=".*") as error:
        space([torch.zeros(shape) for shape in shapes], 0)
    assert str(error.value) == message
