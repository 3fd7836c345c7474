"""When the frames of a video are shown, and where clips begin. Times are exact fractions of a second."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

__all__ = ["ClipTimes", "Timeline", "choose_clips", "clip_times", "rate_fraction"]

#: Largest difference by which times that a file rounds are taken as equal, in seconds. Matroska stores milliseconds.
ROUNDING = Fraction(1, 2000)


@dataclass(frozen=True, slots=True)
class Timeline:
    """When the frames of a video are shown.

    Attributes:
        ticks: Times of the frames in units of ``base``, sorted.
        keys: Times of the frames that can be decoded without others, sorted.
        last: Duration of the last frame in units of ``base``.
        base: Unit of time in seconds.
    """

    ticks: tuple[int, ...]
    keys: tuple[int, ...]
    last: int
    base: Fraction

    @property
    def length(self) -> Fraction:
        """Time from the first frame until the end of the last one, in seconds."""
        return (self.ticks[-1] - self.ticks[0] + self.last) * self.base

    def latest_tick(self, seconds: Fraction) -> int:
        """Return the latest time of a frame that is shown ``seconds`` after the first one, in units of ``base``.

        Times in a file are rounded to units, so that a frame may be later by half a unit, at most half a millisecond.
        """
        return math.floor((seconds + min(self.base / 2, ROUNDING)) / self.base) + self.ticks[0]


@dataclass(frozen=True, slots=True)
class ClipTimes:
    """A clip of a video.

    Attributes:
        start: Time of the first frame, in seconds after the video's first one.
        times: Times of all frames, in the same way. A clip that is longer than its video may have times twice.
    """

    start: Fraction
    times: tuple[Fraction, ...]


def rate_fraction(rate: float) -> Fraction:
    """Return a number of frames a second as it is written in decimals."""
    return Fraction(str(rate))


def clip_times(start: Fraction, frames: int, rate: Fraction) -> ClipTimes:
    """Return the times of a clip: frame k is what is shown at ``start + k / rate``."""
    return ClipTimes(start, tuple(start + k / rate for k in range(frames)))


def choose_clips(
    length: Fraction, frames: int, rate: Fraction, count: int | None = 1, short: str = "skip"
) -> tuple[ClipTimes, ...]:
    """Return the clips of a video: none if it is too short for one.

    Clips that fit without overlap are evenly spaced, with half a space at either end, so that one clip is from the
    middle. More clips than fit overlap evenly.

    Args:
        length: Length of the video in seconds. It is long enough for a clip if it still shows its last frame.
        frames: Frames of a clip.
        rate: Frames a second.
        count: Number of clips; None for as many as lie end to end from the start.
        short: What to do with a video that is too short: "skip" it, "loop" it, or "hold" its last frame.
    """
    span, needed = frames / rate, (frames - 1) / rate
    if length <= needed:
        times = _lengthened(length, clip_times(Fraction(0), frames, rate).times, short)
        return (ClipTimes(Fraction(0), times),) if times else ()
    if count is None:
        starts: Sequence[Fraction] = [span * n for n in range(math.ceil((length - needed) / span))]
    else:
        starts = _spaced(length, min(span, length), count)
    return tuple(clip_times(start, frames, rate) for start in dict.fromkeys(starts))


def _spaced(length: Fraction, span: Fraction, count: int) -> list[Fraction]:
    if count * span <= length or count == 1:
        return [length * (2 * n + 1) / (2 * count) - span / 2 for n in range(count)]
    return [(length - span) * n / (count - 1) for n in range(count)]


def _lengthened(length: Fraction, times: Sequence[Fraction], short: str) -> tuple[Fraction, ...]:
    if short == "loop":
        return tuple(time % length if length else Fraction(0) for time in times)
    if short == "hold":
        return tuple(times)
    return ()
