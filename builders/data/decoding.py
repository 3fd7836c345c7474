"""Images from bytes that nobody vouches for."""

from __future__ import annotations

import io
import struct
import warnings

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from builders.data.errors import DataError

__all__ = ["MAX_PIXELS", "decode_image", "fit", "fit_random"]

#: Larger images are refused before they are decoded.
MAX_PIXELS = 64_000_000
LIMIT = "64 megapixels"


def decode_image(content: bytes, name: str) -> Image.Image:
    """A PNG, WebP, JPEG or GIF as RGB: the first frame, turned as its EXIF says, 16 bits as 8, transparency on white.

    Raises:
        DataError: it is none of these, is broken, or has more than 64 megapixels (seen before it is decoded).
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image: Image.Image = Image.open(io.BytesIO(content), formats=("PNG", "WEBP", "JPEG", "GIF"))
        if image.width * image.height > MAX_PIXELS:
            raise DataError(f"{name}: {image.width}x{image.height} pixels; the limit is {LIMIT}")
        return _plain(image)
    except Image.DecompressionBombError:
        raise DataError(f"{name}: more than {LIMIT}") from None
    except UnidentifiedImageError:
        raise DataError(f"{name}: not a PNG, WebP, JPEG or GIF image") from None
    except (OSError, SyntaxError, ValueError, EOFError, struct.error) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{name}: broken image: {error}") from None


def _plain(image: Image.Image) -> Image.Image:
    """The image as RGB, whatever it was."""
    if image.mode.startswith("I"):
        # Pillow cuts 16 bits off at 255 instead of scaling them.
        levels = np.asarray(image).astype(np.int64).clip(0, 65535)
        image = Image.fromarray((levels // 257).astype(np.uint8))
    else:
        image = ImageOps.exif_transpose(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (255, 255, 255, 255)), image)
    return image.convert("RGB")


def fit_random(image: Image.Image, resolution: int, x: float, y: float) -> np.ndarray:
    """A square of an RGB image as large as fits, at a place: (resolution, resolution, 3) uint8, area-averaged.

    Args:
        image: RGB.
        resolution: side of the result in pixels.
        x: from 0, the left end, to 1, the right end; without meaning for an upright image.
        y: from 0, the upper end, to 1, the lower end; without meaning for a wide image.
    """
    side = min(image.size)
    left, top = round(x * (image.width - side)), round(y * (image.height - side))
    return _resized(image, resolution, (left, top, left + side, top + side))


def fit(image: Image.Image, resolution: int) -> np.ndarray:
    """The central square of an RGB image at ``resolution`` pixels, area-averaged: (resolution, resolution, 3) uint8."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return _resized(image, resolution, (left, top, left + side, top + side))


def _resized(image: Image.Image, resolution: int, box: tuple[int, int, int, int]) -> np.ndarray:
    if image.size != (resolution, resolution):
        how = Image.Resampling.BOX if box[2] - box[0] >= resolution else Image.Resampling.BICUBIC
        image = image.resize((resolution, resolution), how, box=box)
    return np.asarray(image)
