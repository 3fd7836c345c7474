"""Grids of clips: contact sheets of their frames, and animations."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from builders.pictures import animated_grid, sample_grid, spread
from builders.pixels import from_frames, to_frames


def ramp(samples, frames, side):
    """Clips whose frames go from black to white, one level a frame."""
    values = torch.linspace(-1, 1, frames)[:, None, None]
    return values.expand(samples, 3, frames, side, side)


def grey(picture, x, y):
    return picture.getpixel((x, y))[0]


@pytest.mark.parametrize(
    ("total", "count", "shown"),
    [
        (16, 8, [0, 2, 4, 6, 9, 11, 13, 15]),
        (8, 8, list(range(8))),
        (5, 8, list(range(5))),
        (5, None, list(range(5))),
        (100, 3, [0, 50, 99]),
        (9, 2, [0, 8]),
        (9, 1, [0]),
    ],
)
def test_frames_are_spread_from_the_first_to_the_last(total, count, shown):
    assert spread(total, count) == shown


@pytest.mark.parametrize(("frames", "columns"), [(8, 8), (None, 16), (3, 3)])
def test_a_row_shows_the_image_then_frames_of_each_level(frames, columns):
    levels = [ramp(2, 16, 32), ramp(2, 4, 32), torch.full((2, 3, 16, 16), 1.0)]
    sheet = sample_grid(levels, ["one", "two"], frames=frames)
    inner = min(frames or 4, 4)
    # Frames of 64 pixels, 3 apart, and levels 16 apart; a row a sample.
    lefts = [16, 16 + 64 + 16, 16 + 64 + 16 + inner * 67 - 3 + 16]
    assert sheet.width == lefts[2] + columns * 67 - 3 + 16
    for row in range(2):
        y = 16 + 18 + row * (64 + 18 + 8) + 32
        assert grey(sheet, lefts[0] + 32, y) == 255
        inside = [grey(sheet, lefts[1] + place * 67 + 32, y) for place in range(inner)]
        assert inside == [round(255 * index / 3) for index in spread(4, frames)]
        outside = [grey(sheet, lefts[2] + place * 67 + 32, y) for place in range(columns)]
        assert outside == [round(255 * index / 15) for index in spread(16, frames)]


def test_the_nearest_clip_is_shown_as_the_outermost_level():
    levels = [ramp(1, 4, 16), torch.zeros(1, 3, 16, 16)]
    sheet = sample_grid(levels, ["a"], ramp(1, 4, 16), ["b"], title="title")
    assert sheet.width == 2 * 16 + 64 + 2 * (4 * 67 - 3) + 2 * 16
    y, left = 16 + 36 + 32, 16 + 64 + 16 + 4 * 67 - 3 + 16
    assert [grey(sheet, left + place * 67 + 32, y) for place in range(4)] == [0, 85, 170, 255]


def test_frames_of_large_clips_are_made_smaller():
    assert sample_grid([ramp(1, 2, 256)]).width == 2 * 16 + 2 * 131 - 3
    assert sample_grid([ramp(1, 2, 24)]).width == 2 * 16 + 2 * (72 + 3) - 3


def test_an_animation_plays_all_clips_at_the_same_time():
    """Levels of fewer frames show each of them longer; images stand still."""
    levels = [ramp(2, 8, 64), ramp(2, 2, 32), torch.zeros(2, 3, 32, 32)]
    frames = animated_grid(levels, ["a", "b"], ramp(2, 8, 64), ["x", "y"], title="title")
    assert frames.dtype == np.uint8 and frames.shape[0] == 8 and frames.shape[3] == 3
    y = 16 + 36 + 64
    shown = frames[:, y, [16 + place * 136 + 64 for place in range(4)], 0].T.tolist()
    outer = [round(255 * index / 7) for index in range(8)]
    assert shown == [[128] * 8, [0] * 4 + [255] * 4, outer, outer]


def test_frames_and_tensors():
    clip = torch.randint(0, 256, (3, 4, 5, 6), generator=torch.Generator().manual_seed(0)) / 127.5 - 1
    frames = to_frames(clip)
    assert frames.shape == (4, 5, 6, 3) and frames.flags.c_contiguous
    torch.testing.assert_close(from_frames(frames), clip.float(), atol=1e-6, rtol=0)
    assert to_frames(torch.tensor([-3.0, 3.0]).reshape(1, 2, 1, 1)).tolist() == [[[[0] * 3]], [[[255] * 3]]]
