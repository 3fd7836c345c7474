"""A decoded clip, and the errors of video files."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Clip", "VideoError", "VideoUnavailableError"]


class VideoError(ValueError):
    """A video cannot be decoded or encoded; the message says why."""


class VideoUnavailableError(VideoError):
    """PyAV, or a codec that it needs, is not installed; no other video can be read or written either."""


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """A decoded clip.

    Attributes:
        frames: Frames (frames, height, width, 3) uint8, RGB.
        times: Time of each frame in seconds from the first one.
        rate: Frames a second.
    """

    frames: np.ndarray
    times: tuple[float, ...]
    rate: float
