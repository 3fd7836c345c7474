"""Animated WebP, by Pillow."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from builders.video.checks import check_frames, check_rate

__all__ = ["encode_webp"]


def encode_webp(frames: np.ndarray, rate: float, *, lossless: bool = True, quality: int = 90) -> bytes:
    """Encode a clip as an animated WebP that repeats forever.

    Args:
        frames: Frames (frames, height, width, 3) uint8, RGB.
        rate: Frames a second. Times are rounded to milliseconds, which is what the format stores.
        lossless: Whether pixels are kept exactly.
        quality: Quality from 0 to 100 if they are not.

    Raises:
        VideoError: The array or the rate is none of a clip.
    """
    check_frames(frames)
    check_rate(rate)
    ends = [round(1000 * (index + 1) / rate) for index in range(len(frames))]
    durations = [end - start for start, end in zip([0, *ends], ends, strict=False)]
    first, *others = (Image.fromarray(frame) for frame in frames)
    buffer = io.BytesIO()
    first.save(
        buffer, "WEBP", save_all=True, append_images=others, duration=durations, loop=0, lossless=lossless,
        quality=quality, method=4,
    )  # fmt: skip
    return buffer.getvalue()
