"""Frames as they are shown: of square pixels, and turned upright."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from PIL import Image

from builders.video.limits import check_size

__all__ = ["Turn", "square_size", "turn_of", "upright"]


class Turn(NamedTuple):
    """How stored frames are turned to be shown.

    Attributes:
        degrees: Angle by which they are turned anticlockwise.
        mirrored: Whether left and right are exchanged afterwards.
    """

    degrees: float = 0
    mirrored: bool = False


def turn_of(matrix: Sequence[int]) -> Turn:
    """Return the turn of a display matrix, which has nine whole numbers, row by row."""
    a, b, _, c, d = matrix[:5]
    mirrored = a * d < b * c
    return Turn(math.degrees(math.atan2(-b, -a if mirrored else a)), mirrored)


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


def upright(frame: np.ndarray, aspect: Fraction, turn: Turn, origin: str) -> np.ndarray:
    """Return a frame with square pixels, turned as it is shown.

    Args:
        frame: Frame (height, width, 3) uint8.
        aspect: Width of a stored pixel by its height.
        turn: How the frame is turned, to the nearest quarter.
        origin: Name of the video in messages.

    Raises:
        VideoError: The frame is too large with square pixels.
    """
    height, width = frame.shape[:2]
    size = square_size(width, height, aspect)
    if size != (width, height):
        check_size(*size, origin)
        frame = np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BICUBIC))
    turned = np.rot90(frame, round(turn.degrees / 90) % 4)
    return np.ascontiguousarray(turned[:, ::-1] if turn.mirrored else turned)
