"""Resizing of 8-bit images: one function for packing, data, evaluation and pictures.

Imports no torch, because the processes of a pack use it.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

__all__ = ["RESIZINGS", "is_fractional", "resize", "resize_reduced"]

#: Names of the methods. "box" is that of versions before 0.2: it takes whole pixels, so that factors that are no whole
#: numbers leave out rows and columns. They differ for these factors only.
RESIZINGS = ("area", "box")
Box = tuple[int, int, int, int]


def is_fractional(width: int, height: int, size: tuple[int, int]) -> bool:
    """Return whether an image is made smaller by a factor that is no whole number."""
    return width >= size[0] and height >= size[1] and (width % size[0] > 0 or height % size[1] > 0)


def resize(image: Image.Image, size: tuple[int, int], box: Box | None = None, method: str = "area") -> Image.Image:
    """Resize an RGB image: by averaging the area of each new pixel if it gets smaller, otherwise bicubically.

    Args:
        image: RGB image.
        size: New width and height in pixels.
        box: Part of the image to resize: left, top, right and bottom in pixels. Default: the whole image.
        method: One of :data:`RESIZINGS`.
    """
    box = box or (0, 0, *image.size)
    width, height = box[2] - box[0], box[3] - box[1]
    if (width, height) == size:
        return image if box == (0, 0, *image.size) else image.crop(box)
    if width < size[0] or height < size[1]:
        return image.resize(size, Image.Resampling.BICUBIC, box=box)
    if method == "box" or not is_fractional(width, height, size):
        return image.resize(size, Image.Resampling.BOX, box=box)
    return Image.fromarray(_area_average(np.asarray(image)[box[1] : box[3], box[0] : box[2]], size))


def resize_reduced(image: Image.Image, size: tuple[int, int], box: Box, scale: int) -> Image.Image:
    """Make a part of a reduced RGB image smaller, by averaging the area of each new pixel.

    Args:
        image: RGB image whose pixels are squares of ``scale`` pixels of the original. Those in its last row and column
            may lie partly outside.
        size: New width and height in pixels, at most those of the part in the reduced image.
        box: Part of the original: left, top, right and bottom in its pixels.
        scale: Factor by which the image is reduced.
    """
    if not any(edge % scale for edge in box):
        left, top, right, bottom = (edge // scale for edge in box)
        return resize(image, size, (left, top, right, bottom))
    return Image.fromarray(_area_average(np.asarray(image), size, box, scale))


def _area_average(pixels: np.ndarray, size: tuple[int, int], box: Box | None = None, scale: int = 1) -> np.ndarray:
    """Return the exact average of the area of each new pixel, rounded half up.

    An edge of a new pixel that divides an old one counts it for both sides by their shares. All sums are whole numbers,
    so that they do not depend on the machine.

    Args:
        pixels: Levels (height, width, channels) uint8.
        size: New width and height, at most those of the image.
        box: Part of the image that is averaged, in pixels of which one of ``pixels`` has ``scale`` on each side.
        scale: See ``box``.
    """
    columns, channels = pixels.shape[1:]
    left, top, right, bottom = box or (0, 0, columns, len(pixels))
    width, height = right - left, bottom - top
    area = height * width
    result = np.empty((size[1], size[0], channels), dtype=np.uint8)
    for index in range(size[1]):
        first, weights = _weights(index, top, height, size[1], scale)
        rows = pixels[first : first + len(weights)].reshape(len(weights), -1)
        row = (weights @ rows.astype(weights.dtype)).reshape(columns, channels).astype(np.int64)
        result[index] = (2 * _sums(row, left, width, size[0], scale) + area) // (2 * area)
    return result


def _weights(index: int, offset: int, length: int, count: int, scale: int) -> tuple[int, np.ndarray]:
    """Return the first value in part ``index`` of ``count`` equal parts of an axis, and weights of the values in it.

    The parts begin at ``offset`` and have ``length`` together; a value has ``scale``. The weights are the lengths of
    values in the part times ``count``, and sum to ``length``.
    """
    start = offset * count + index * length
    stop, unit = start + length, scale * count
    first, last = start // unit, -(-stop // unit)
    edges = np.arange(first, last + 1) * unit
    # float32 holds whole numbers below 2^24.
    kind = np.float32 if 255 * length < 2**24 else np.float64
    return first, (np.minimum(edges[1:], stop) - np.maximum(edges[:-1], start)).astype(kind)


def _sums(values: np.ndarray, offset: int, length: int, count: int, scale: int) -> np.ndarray:
    """Return the sums over ``count`` equal parts of the first axis, times ``count``; :func:`_weights` for all parts."""
    unit = scale * count
    edges = offset * count + np.arange(count + 1) * length
    first, share = edges // unit, edges % unit
    divided = share[:, None] * values[np.minimum(first, len(values) - 1)]
    return np.add.reduceat(values[: first[-1]], first[:-1], axis=0) * unit + np.diff(divided, axis=0)
