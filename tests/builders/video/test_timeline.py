"""Which clips are taken of a video, and what is shown at a time."""

from __future__ import annotations

from fractions import Fraction as F

import pytest

from builders.video.timeline import Timeline, choose_clips, rate_fraction


def starts(length, frames=8, rate=8, **options):
    return [float(clip.start) for clip in choose_clips(F(length), frames, F(rate), **options)]


def test_one_clip_is_from_the_middle():
    assert starts(5) == [2] and starts(1) == [0] and starts("1.5") == [0.25]


def test_clips_are_evenly_spaced():
    assert starts(6, count=3) == [0.5, 2.5, 4.5]
    assert starts(3, count=3) == [0, 1, 2], "end to end"
    assert starts(2, count=3) == [0, 0.5, 1], "they overlap evenly"
    assert starts(1, count=3) == [0], "equal clips are one"


def test_as_many_as_lie_end_to_end():
    assert starts("3.5", count=None) == [0, 1, 2]
    assert starts("3.9", count=None) == [0, 1, 2, 3], "the last frame of the last clip is still shown"
    assert starts(1, count=None) == [0]


def test_a_clip_needs_its_last_frame_to_be_shown():
    assert starts("0.875") == [] and starts("0.88") == [0]


def test_short_videos():
    (looped,) = choose_clips(F(1, 2), 8, F(8), short="loop")
    assert [float(8 * time) for time in looped.times] == [0, 1, 2, 3, 0, 1, 2, 3]
    (held,) = choose_clips(F(1, 2), 8, F(8), short="hold")
    assert [float(8 * time) for time in held.times] == [0, 1, 2, 3, 4, 5, 6, 7]
    assert choose_clips(F(0), 2, F(8), short="loop")[0].times == (0, 0)


def test_rates_are_decimals():
    assert rate_fraction(29.97) == F(2997, 100) and rate_fraction(8.0) == 8


@pytest.mark.parametrize(
    ("base", "seconds", "tick"),
    [(F(1, 30), F(1, 8), 3), (F(1, 1000), F(2, 30), 67), (F(1, 15360), F(2, 30), 1024), (F(1, 8), F(1, 8), 1)],
)
def test_the_latest_frame_that_is_not_later(base, seconds, tick):
    """Milliseconds of Matroska are rounded: a frame of 1/15 s is said to be at 67 ms."""
    timeline = Timeline((100, 200), (100,), 1, base)
    assert timeline.latest_tick(seconds) == 100 + tick
