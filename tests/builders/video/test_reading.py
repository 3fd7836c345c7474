"""Frames by their times: containers, variable rates, seeking."""

from __future__ import annotations

import io
from fractions import Fraction as F

import numpy as np
import pytest

from builders.video.reading import read_clips, read_timeline
from builders.video.timeline import ClipTimes, clip_times
from tests.helpers.videos import grey_levels, numbered, write_video


def read(content, *clips, **options):
    file = io.BytesIO(content)
    return list(read_clips(file, "a.mp4", read_timeline(file, "a.mp4"), clips, **options))


def at(*times):
    return ClipTimes(F(0), tuple(F(time) for time in times))


def test_variable_rates():
    """The file says 240/13 frames a second."""
    ticks = [0, 1, 2, 5, 9, 10, 30, 31]
    content = write_video(None, numbered(8), 30, times=ticks, base=F(1, 30))
    timeline = read_timeline(io.BytesIO(content), "a")
    assert [round(float((tick - timeline.ticks[0]) * timeline.base) * 1000) for tick in timeline.ticks] == [
        *(0, 33, 67, 167, 300, 333, 1000, 1033)
    ]
    (frames,) = read(content, clip_times(F(0), 9, F(8)))
    assert grey_levels(frames) == [0, 2, 3, 5, 5, 5, 5, 5, 6]


@pytest.mark.parametrize(
    ("form", "codec", "options"),
    [("mp4", "libx264", {}), ("mov", "libx264", {}), ("matroska", "libx264", {}), ("avi", "libx264", {}),
     ("avi", "mpeg4", {}), ("webm", "libvpx-vp9", {"cpu-used": "8"}), ("webm", "libvpx", {"auto-alt-ref": "1"})],
)  # fmt: skip
def test_containers(form, codec, options):
    """With frames that are stored in another order than they are shown, and times that are rounded."""
    content = write_video(None, numbered(24), 24, codec=codec, form=form, options={"crf": "10", **options})
    first, later, again = read(content, clip_times(F(1, 2), 5, F(24)), clip_times(F(19, 24), 3, F(12)), at("1/24"))
    assert grey_levels(first) == [12, 13, 14, 15, 16]
    assert grey_levels(later) == [19, 21, 23] and grey_levels(again) == [1]


@pytest.mark.parametrize("distance", [8, 100])
def test_frames_are_sought_and_dropped(distance):
    """In a file with a key frame each second, and in one with a single key frame."""
    content = write_video(None, numbered(30), 8, options={"g": str(distance), "crf": "10"})
    decoded = []
    clips = [at("25/8", "27/8"), at("9/8"), at("10/8", "11/8")]
    found = read(content, *clips, check=lambda: decoded.append(1))
    assert [grey_levels(frames) for frames in found] == [[25, 27], [9], [10, 11]]
    assert (len(decoded) < 20) == (distance == 8)


def test_frames_that_refer_to_frames_before_a_seek():
    options = {"g": "8", "crf": "10", "x264-params": "open-gop=1:bframes=3:b-adapt=0:scenecut=0"}
    content = write_video(None, numbered(30), 8, options=options)
    for number in range(30):
        assert grey_levels(read(content, at(F(number, 8)))[0]) == [number]


def test_a_video_that_does_not_begin_at_zero():
    content = write_video(None, numbered(8), 8, times=range(80, 88), base=F(1, 8), form="matroska")
    assert grey_levels(read(content, clip_times(F(0), 8, F(8)))[0]) == [*range(8)]


def test_frames_are_made_smaller_one_by_one():
    content = write_video(None, numbered(8), 8)
    (frames,) = read(content, clip_times(F(0), 16, F(16)), each=lambda frame: frame[:2, :3])
    assert {frame.shape for frame in frames} == {(2, 3, 3)}
    assert np.shares_memory(frames[0], frames[1]), "a frame that is shown twice is one"
