"""Limits of videos, which are checked before anything is decoded."""

from __future__ import annotations

from builders.video.clip import VideoError

__all__ = ["MAX_FRAMES", "MAX_PIXELS", "MAX_SECONDS", "check_length", "check_size"]

#: Largest number of pixels of a frame.
MAX_PIXELS = 36_000_000
#: Largest number of frames of a video.
MAX_FRAMES = 100_000
#: Longest video in seconds.
MAX_SECONDS = 3600
#: Largest number of bytes of the frames of one clip in memory.
MAX_CLIP_BYTES = 2**30


def check_size(width: int, height: int, origin: str) -> None:
    """Check the size of a video's frames.

    Raises:
        VideoError: They have no pixels, or more than 36 megapixels.
    """
    if width < 1 or height < 1:
        # The decoder does not tell the size of frames above its limit.
        limit = f"{MAX_PIXELS // 1_000_000} megapixels"
        raise VideoError(f"{origin}: the size of its frames is not known; it is broken, or they have more than {limit}")
    if width * height > MAX_PIXELS:
        raise VideoError(
            f"{origin}: {width}x{height} pixels a frame; the limit is {MAX_PIXELS // 1_000_000} megapixels"
        )


def check_length(frames: int, seconds: float, origin: str) -> None:
    """Check the number of frames of a video, and its length.

    Raises:
        VideoError: It has more than 100,000 frames, or is longer than an hour.
    """
    if frames > MAX_FRAMES:
        raise VideoError(f"{origin}: more than {MAX_FRAMES:,} frames; cut the video into shorter ones")
    if seconds > MAX_SECONDS:
        raise VideoError(f"{origin}: longer than an hour; cut the video into shorter ones")
