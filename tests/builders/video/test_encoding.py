"""Clips as MP4 and animated WebP."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from builders.video.clip import VideoError
from builders.video.pyav import decode_clip, encode_mp4
from builders.video.webp import encode_webp


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    """A bright square that moves over a dark, coloured gradient."""
    clip = np.zeros((6, 32, 48, 3), dtype=np.uint8)
    clip[:, :, :, 0] = np.arange(48, dtype=np.uint8) * 3
    clip[:, :, :, 2] = np.arange(32, dtype=np.uint8)[:, None] * 4
    for index, frame in enumerate(clip):
        frame[8:20, 4 + 6 * index : 12 + 6 * index] = (250, 200, 20)
    return clip


@pytest.mark.parametrize(("pixel_format", "worst"), [("yuv420p", 14), ("yuv444p", 6)])
def test_an_mp4_holds_the_frames_at_their_times(frames, pixel_format, worst):
    data = encode_mp4(frames, 8, crf=12, pixel_format=pixel_format)
    clip = decode_clip(data, "a.mp4", frames=6)
    assert clip.rate == 8 and clip.times == (0, 0.125, 0.25, 0.375, 0.5, 0.625)
    assert np.abs(clip.frames.astype(int) - frames).mean() < worst / 4
    assert data == encode_mp4(frames, 8, crf=12, pixel_format=pixel_format)


@pytest.mark.parametrize("side", [32, 31])
def test_lossless_frames_are_equal(frames, side):
    odd = frames[:, :side, :side]
    assert (decode_clip(encode_mp4(odd, 12.5, lossless=True), "a.mp4").frames == odd).all()


def test_one_frame_is_a_clip(frames):
    assert decode_clip(encode_mp4(frames[:1], 30000 / 1001), "a.mp4").frames.shape == (1, 32, 48, 3)


def test_a_webp_holds_the_frames_and_their_durations(frames):
    image = Image.open(io.BytesIO(encode_webp(frames, 30)))
    durations = []
    for index in range(image.n_frames):
        image.seek(index)
        assert (np.asarray(image.convert("RGB")) == frames[index]).all()
        durations.append(image.info["duration"])
    assert durations == [33, 34, 33, 33, 34, 33] and image.info["loop"] == 0


@pytest.mark.parametrize("encode", [encode_mp4, encode_webp])
@pytest.mark.parametrize(
    ("array", "rate", "message"),
    [
        (
            np.zeros((2, 4, 4), np.uint8),
            8,
            "(frames, height, width, 3) of uint8, not (2, 4, 4) uint8",
        ),
        (np.zeros((2, 4, 4, 3), np.float32), 8, "of uint8, not (2, 4, 4, 3) float32"),
        ([[0]], 8, "of uint8, not list"),
        (np.zeros((0, 4, 4, 3), np.uint8), 8, "a clip needs at least one frame of one pixel, not (0, 4, 4, 3)"),
        (np.zeros((2, 4, 4, 3), np.uint8), 0, "the rate must be above 0 and at most 1000 frames a second, not 0"),
        (np.zeros((2, 4, 4, 3), np.uint8), float("nan"), "at most 1000 frames a second, not nan"),
    ],
)
def test_what_is_no_clip_is_refused(encode, array, rate, message):
    with pytest.raises(VideoError) as error:
        encode(array, rate)
    assert message in str(error.value)


def test_odd_sides_of_yuv420p_are_refused(frames):
    with pytest.raises(VideoError, match="needs even sides, not 48x31; pad the frames or choose yuv444p"):
        encode_mp4(frames[:, :31], 8)
    assert decode_clip(encode_mp4(frames[:, :31], 8, pixel_format="yuv444p"), "a.mp4").frames.shape == (6, 31, 48, 3)


def test_equal_clips_give_equal_bytes():
    """With whatever lies in memory beside them: x264's default settings fail this."""
    noise = np.random.default_rng(0)
    frames = noise.integers(0, 255, (6, 24, 24, 3), dtype=np.uint8)
    found = set()
    for size in noise.integers(1, 100_000, 30):
        beside = noise.integers(0, 255, size, dtype=np.uint8).tobytes()
        found.add(encode_mp4(frames, 8, crf=12, pixel_format="yuv444p"))
        del beside
    assert len(found) == 1
