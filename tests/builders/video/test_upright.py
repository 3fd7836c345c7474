"""Frames as they are shown: rotation, mirroring, pixels that are not square."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from builders.video.clip import VideoError
from builders.video.pyav import decode_clip
from builders.video.upright import square_size
from tests.helpers.videos import write_video


def corners(width: int = 48, height: int = 32) -> np.ndarray:
    """A red square at the top left, a blue one at the top right."""
    frames = np.zeros((2, height, width, 3), np.uint8)
    frames[:, :16, :16, 0] = frames[:, :16, -16:, 2] = 255
    return frames


@pytest.mark.parametrize(
    ("degrees", "flips", "turn"),
    [
        (90, {}, lambda frame: np.rot90(frame)),
        (-90, {}, lambda frame: np.rot90(frame, -1)),
        (180, {}, lambda frame: np.rot90(frame, 2)),
        (0, {"hflip": True}, lambda frame: frame[:, ::-1]),
        (0, {"vflip": True}, lambda frame: frame[::-1]),
        (90, {"hflip": True}, lambda frame: np.rot90(frame)[:, ::-1]),
    ],
)
def test_frames_are_turned_upright(degrees, flips, turn):
    frames = corners()
    content = write_video(None, frames, prepare=lambda stream: stream.set_display_rotation(degrees, **flips))
    clip = decode_clip(content, "a.mp4")
    wanted = turn(frames[0]).astype(int)
    assert clip.frames[0].shape == wanted.shape and np.abs(clip.frames[0] - wanted).mean() < 8


def test_pixels_become_square():
    def stretch(stream):
        stream.codec_context.sample_aspect_ratio = Fraction(2, 1)

    assert decode_clip(write_video(None, corners(), prepare=stretch), "a.mp4").frames.shape[1:3] == (32, 96)
    assert square_size(720, 576, Fraction(16, 15)) == (768, 576) and square_size(9, 5, Fraction(1, 2)) == (9, 10)


def test_frames_that_are_too_large_with_square_pixels():
    def stretch(stream):
        stream.codec_context.sample_aspect_ratio = Fraction(40, 1)

    with pytest.raises(VideoError, match=r"a\.mp4: 40000x1000 pixels a frame; the limit is 36 megapixels"):
        decode_clip(write_video(None, corners(1000, 1000), prepare=stretch), "a.mp4")
