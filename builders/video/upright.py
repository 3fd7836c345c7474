"""Frames as they are shown: of square pixels, and turned upright."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from PIL import Image

from builders.video.limits import check_size

__all__ = ["square_size", "upright"]


def square_size(width: int, height: int, aspect: Fraction) -> tuple[int, int]:
    """Return the width and height of a frame with square pixels; the side that is too short is enlarged.

    Args:
        width: Width in pixels as stored.
        height: Height in pixels as stored.
        aspect: Width of a stored pixel by its height.
    """
    if aspect >= 1:
        return round(width * aspect), height
    return width, round(height / aspect)


def upright(frame: np.ndarray, aspect: Fraction, rotation: int, origin: str) -> np.ndarray:
    """Return a frame with square pixels, turned as it is shown.

    Args:
        frame: Frame (height, width, 3) uint8.
        aspect: Width of a stored pixel by its height.
        rotation: Angle in degrees by which the frame is turned anticlockwise, to the nearest quarter.
        origin: Name of the video in messages.

    Raises:
        VideoError: The frame is too large with square pixels.
    """
    height, width = frame.shape[:2]
    size = square_size(width, height, aspect)
    if size != (width, height):
        check_size(*size, origin)
        frame = np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BICUBIC))
    quarters = round(rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(frame, quarters))
