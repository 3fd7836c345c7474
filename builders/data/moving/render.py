"""Rendering of moving emoji: an image in given poses on white, averaged from a rendering of four times the side.

Pillow renders at 256 pixels (``transform`` with ``AFFINE`` and ``BICUBIC``) and averages squares of four by four
pixels (``BOX``). Only the part of a frame that the image covers is rendered.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image

from builders.data.moving.motions import Pose
from builders.resizing import resize

__all__ = ["SIDE", "render"]

#: Side of a frame, and pixels of the rendering for each of its pixels.
SIDE, OVER = 64, 4
WHITE = (255, 255, 255)


def render(image: Image.Image, poses: Sequence[Pose], resolution: int = SIDE) -> np.ndarray:
    """Return the frames of a clip.

    Args:
        image: Square RGB image on white.
        poses: Pose of the image in each frame.
        resolution: Side of the result in pixels; other sides than 64 are resized from it, as stored clips are.

    Returns:
        Pixels (frames, resolution, resolution, 3) uint8.
    """
    patches: dict[tuple[float, float], Image.Image] = {}
    frames: dict[Pose, np.ndarray] = {}
    for pose in dict.fromkeys(poses):
        shape = (pose.size, pose.angle)
        if shape not in patches:
            patches[shape] = _patch(image, *shape)
        frames[pose] = np.asarray(resize(_frame(patches[shape], pose), (resolution, resolution)))
    return np.stack([frames[pose] for pose in poses])


def _patch(image: Image.Image, size: float, angle: float) -> Image.Image:
    """Return an image of some size, turned about its center, in the smallest even square that holds it."""
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    half = math.ceil(size * SIDE * OVER / 2 * (abs(cosine) + abs(sine)))
    middle, step = image.width / 2, image.width / (size * SIDE * OVER)
    a, b = step * cosine, step * sine
    # From pixels of the result to pixels of the image: a turn back about the centers.
    matrix = (a, b, middle - (a + b) * half, -b, a, middle - (a - b) * half)
    return image.transform(
        (2 * half, 2 * half), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC, fillcolor=WHITE
    )


def _frame(patch: Image.Image, pose: Pose) -> Image.Image:
    """Return a frame with a patch whose center is the nearest whole pixel of the rendering."""
    half = patch.width // 2
    x, y = round(pose.x * SIDE * OVER) - half, round(pose.y * SIDE * OVER) - half
    left, top = max(0, x // OVER), max(0, y // OVER)
    right, bottom = min(SIDE, -(-(x + 2 * half) // OVER)), min(SIDE, -(-(y + 2 * half) // OVER))
    part = Image.new("RGB", ((right - left) * OVER, (bottom - top) * OVER), WHITE)
    part.paste(patch, (x - left * OVER, y - top * OVER))
    frame = Image.new("RGB", (SIDE, SIDE), WHITE)
    frame.paste(part.resize((right - left, bottom - top), Image.Resampling.BOX), (left, top))
    return frame
