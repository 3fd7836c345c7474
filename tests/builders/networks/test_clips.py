"""Networks with levels of clips: frames by themselves, rows, shapes and their errors."""

from __future__ import annotations

import pytest
import torch

from builders.networks.nested_unet import build_model
from specs.load import load_text
from tests.helpers.networks import noise, randomise

#: Levels of clips nested in space, without a step in time; ``{frames}`` is a line or nothing.
SPACE = """
name: space
resolution: 16
{frames}
head: {{groups: 4}}
defaults: {{resnet: {{groups: 4}}, attention: {{groups: 4, heads: 2}}}}
stages: {{r16: {{width: 8}}, r8: {{width: 12, attention: 1}}}}
nest:
  resolution: 8
  {frames}
  inputs: {{text: {{width: 6, tokens: 5, mask_attention: true}}, scale: {{}}}}
  head: {{groups: 4}}
  normalize_input: true
  defaults: {{resnet: {{groups: 4}}, attention: {{groups: 4, heads: 2, feed_forward: true}}}}
  stages: {{r8: {{width: 8}}, r4: {{width: 8, attention: 1}}}}
  middle: [resnet, attention]
"""


@pytest.fixture(scope="module")
def space():
    return randomise(build_model(load_text(SPACE.format(frames="frames: 3")).graph))


def renamed(state, names):
    """Return a state dict with the levels' labels exchanged."""
    result = {}
    for key, value in state.items():
        parts = key.split(".")
        parts[1] = names.get(parts[1], parts[1]) if parts[0] == "levels" else parts[1]
        result[".".join(parts)] = value
    return result


@torch.no_grad()
def test_levels_without_steps_in_time_predict_each_frame_as_levels_of_images_do(space):
    images = build_model(load_text(SPACE.format(frames="")).graph).eval()
    images.load_state_dict(renamed(space.state_dict(), {"r16f3": "r16", "r8f3": "r8"}))
    z, t = noise(space.graph, [2, 3]), [3, 500, 900]
    given = {
        "text": torch.randn(3, 5, 6, generator=torch.Generator().manual_seed(3)),
        "text_mask": torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0]]),
        "scale": [8, 16, 30],
    }
    found = space(z, t, **given)
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
    z = [torch.cat([x, x], 2) for x in noise(space.graph, 1)]
    found, wanted = space(z, 7), space(noise(space.graph, 1), 7)
    torch.testing.assert_close(found, [torch.cat([x, x], 2) for x in wanted])


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
