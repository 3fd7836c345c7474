"""Checks of clips before they are encoded."""

from __future__ import annotations

import math

import numpy as np

from builders.video.clip import VideoError

__all__ = ["MAX_RATE", "check_frames", "check_rate"]

#: Largest number of frames a second.
MAX_RATE = 1000


def check_frames(frames: np.ndarray) -> None:
    """Check that an array is a clip.

    Raises:
        VideoError: It is not (frames, height, width, 3) uint8, or has no frames.
    """
    if not isinstance(frames, np.ndarray) or frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3:
        found = f"{frames.shape} {frames.dtype}" if isinstance(frames, np.ndarray) else type(frames).__name__
        raise VideoError(f"a clip is an array (frames, height, width, 3) of uint8, not {found}")
    if 0 in frames.shape:
        raise VideoError(f"a clip needs at least one frame of one pixel, not {frames.shape}")


def check_rate(rate: float) -> None:
    """Check a number of frames a second.

    Raises:
        VideoError: It is not above 0 and at most 1000.
    """
    if not (math.isfinite(rate) and 0 < rate <= MAX_RATE):
        raise VideoError(f"the rate must be above 0 and at most {MAX_RATE} frames a second, not {rate:g}")
