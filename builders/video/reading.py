"""Frames of a video file by their times.

What a file says about its rate, its number of frames and its length is not used: the packets are counted.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import Any, BinaryIO

import numpy as np

from builders.video.clip import VideoError
from builders.video.limits import check_length
from builders.video.pyav import open_video, reported, show
from builders.video.timeline import ClipTimes, Timeline

__all__ = ["read_clips", "read_timeline"]

Frames = dict[Fraction, np.ndarray]


def read_timeline(file: BinaryIO, origin: str, check: Callable[[], object] = lambda: None) -> Timeline:
    """Return when the frames of a video are shown, without decoding them.

    Args:
        file: File that is open for reading.
        origin: Name of the video in messages.
        check: Called after each packet; it may raise.

    Raises:
        VideoUnavailableError: PyAV is not installed.
        VideoError: The file is no video, has no frames, or exceeds a limit of :mod:`builders.video.limits`.
        OSError: The file cannot be read.
    """
    file.seek(0)
    ticks: list[int] = []
    keys: list[int] = []
    durations: dict[int, int] = {}
    with open_video(file, origin) as (container, stream):
        base = Fraction(stream.time_base)
        in_order = _is_in_order(container)
        for packet in container.demux(stream):
            check()
            tick = packet.dts if in_order or packet.pts is None else packet.pts
            if tick is None or packet.is_discard or not packet.size:
                continue
            ticks.append(tick)
            durations[tick] = packet.duration or 0
            if packet.is_keyframe:
                keys.append(tick)
            check_length(len(ticks), abs(float((tick - ticks[0]) * base)), origin)
    if not ticks:
        raise VideoError(f"{origin}: has no frames")
    ticks.sort()
    usual = round((ticks[-1] - ticks[0]) / (len(ticks) - 1)) if len(ticks) > 1 else 0
    timeline = Timeline(tuple(ticks), tuple(sorted(keys)), max(0, durations[ticks[-1]] or usual), base)
    check_length(len(ticks), float(timeline.length), origin)
    return timeline


def _is_in_order(container: Any) -> bool:
    """Return whether frames are timed by their order alone: AVI has no times for frames that are stored reordered."""
    return bool(container.format.name == "avi")


def read_clips(
    file: BinaryIO,
    origin: str,
    timeline: Timeline,
    clips: Sequence[ClipTimes],
    *,
    each: Callable[[np.ndarray], np.ndarray] = lambda frame: frame,
    check: Callable[[], object] = lambda: None,
) -> Iterator[list[np.ndarray]]:
    """Yield the frames (height, width, 3) uint8 of each clip: at each time the latest frame that is not later.

    Args:
        file: File that is open for reading.
        origin: Name of the video in messages.
        timeline: Result of :func:`read_timeline`.
        clips: Clips to read.
        each: Called with each frame that is taken, as it is shown; what it returns is kept.
        check: Called after each frame that is decoded; it may raise.

    Raises:
        VideoUnavailableError: PyAV is not installed.
        VideoError: The file is no video, or a frame is damaged.
        OSError: The file cannot be read.
    """
    file.seek(0)
    with open_video(file, origin) as (container, stream):
        reader = _Reader(container, stream, origin, timeline, each, check)
        for clip in clips:
            found = reader.read(sorted({*clip.times}))
            yield [found[time] for time in clip.times]


class _Reader:
    """A decoder of one stream. It continues from its position or seeks, whichever decodes fewer frames."""

    def __init__(
        self,
        container: Any,
        stream: Any,
        origin: str,
        timeline: Timeline,
        each: Callable[[np.ndarray], np.ndarray],
        check: Callable[[], object],
    ) -> None:
        self.container, self.stream, self.origin, self.timeline = container, stream, origin, timeline
        self.each, self.check = each, check
        self._in_order = _is_in_order(container)
        self._frames: Iterator[tuple[int, Any]] | None = None
        #: The last frame that was decoded and is shown before all that are still wanted, with its time.
        self._shown: tuple[int, Any] | None = None
        #: A decoded frame that is later than all that were wanted.
        self._next: tuple[int, Any] | None = None

    def read(self, times: Sequence[Fraction]) -> Frames:
        """Return the frames at some sorted times."""
        latest = [self.timeline.latest_tick(time) for time in times]
        if not self._is_near(latest[0]):
            key = self.timeline.keys[bisect_right(self.timeline.keys, latest[0]) - 1] if self.timeline.keys else None
            if key is not None and key > self.timeline.ticks[0] and not self._in_order:
                try:
                    self._restart(key)
                    return self._collect(times, latest)
                except VideoError:  # frames after a seek may refer to frames before it
                    pass
            self._restart(None)
        return self._collect(times, latest)

    def _is_near(self, latest: int) -> bool:
        """Return whether decoding on from here is right, and no slower than seeking."""
        if self._frames is None or self._shown is None or self._shown[0] > latest:
            return False
        keys = self.timeline.keys
        place = self._next[0] if self._next else self._shown[0]
        return self._in_order or bisect_right(keys, latest) <= bisect_right(keys, place)

    def _restart(self, key: int | None) -> None:
        with reported(self.origin):
            self.container.seek(self.timeline.ticks[0] if key is None else key, stream=self.stream, backward=True)
        self._shown = self._next = None
        self._frames = self._decoded()

    def _decoded(self) -> Iterator[tuple[int, Any]]:
        """Yield each frame from here on with its time."""
        ticks = self.timeline.ticks
        with reported(self.origin):
            for number, frame in enumerate(self.container.decode(self.stream)):
                self.check()
                if frame.is_corrupt:
                    raise VideoError(f"{self.origin}: broken video: a frame is damaged")
                tick = frame.dts if frame.pts is None else frame.pts
                if self._in_order:
                    tick = ticks[min(number, len(ticks) - 1)]
                if tick is not None:
                    yield tick, frame

    def _collect(self, times: Sequence[Fraction], latest: Sequence[int]) -> Frames:
        """Return the frames at some times, going on from the last frame that was shown."""
        assert self._frames is not None
        found: Frames = {}
        taken: tuple[int, np.ndarray] | None = None
        for time, tick in zip(times, latest, strict=True):
            self._advance(tick)
            if self._shown is None:
                raise VideoError(f"{self.origin}: broken video: its first frames cannot be decoded")
            if taken is None or taken[0] != self._shown[0]:
                taken = self._shown[0], self.each(show(self._shown[1], self.stream, self.origin))
            found[time] = taken[1]
        return found

    def _advance(self, latest: int) -> None:
        """Decode until a frame is later than a time, or to the end."""
        assert self._frames is not None
        while self._next is None or self._next[0] <= latest:
            self._shown = self._next or self._shown
            self._next = next(self._frames, None)
            if self._next is None:
                self._check_end(latest)
                return

    def _check_end(self, latest: int) -> None:
        """Check that the frames did not end before the last one that the packets announce."""
        ticks = self.timeline.ticks
        expected = ticks[max(0, bisect_right(ticks, latest) - 1)]
        if self._shown is None or self._shown[0] < expected:
            raise VideoError(f"{self.origin}: broken video: it ends before its last frames")
