"""Decoding of untrusted images, and crops of them."""

from __future__ import annotations

import io
import struct
import warnings

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from builders.data.errors import DataError

__all__ = ["MAX_PIXELS", "decode_image", "fit", "fit_random"]

#: Largest number of pixels; larger images are refused before they are decoded.
MAX_PIXELS = 64_000_000
LIMIT = "64 megapixels"


def decode_image(content: bytes, name: str) -> Image.Image:
    """Decode a PNG, WebP, JPEG or GIF to RGB.

    The first frame is taken, its EXIF orientation is applied, 16 bits are scaled to 8, and transparent images are
    composited on white.

    Args:
        content: Bytes of the file.
        name: Name of the image in messages.

    Raises:
        DataError: The image has another format, is broken, or has more than 64 megapixels.
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
    """Return an image of any mode as RGB."""
    if image.mode.startswith("I"):
        # Pillow clips 16 bits at 255 and does not scale them.
        levels = np.asarray(image).astype(np.int64).clip(0, 65535)
        image = Image.fromarray((levels // 257).astype(np.uint8))
    else:
        image = ImageOps.exif_transpose(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (255, 255, 255, 255)), image)
    return image.convert("RGB")


def fit_random(image: Image.Image, resolution: int, x: float, y: float) -> np.ndarray:
    """Return the largest square of an RGB image at a position, resized by area averaging.

    Args:
        image: RGB image.
        resolution: Side of the result in pixels.
        x: Position from 0 (left) to 1 (right); not used if the image is taller than wide.
        y: Position from 0 (top) to 1 (bottom); not used if the image is wider than tall.

    Returns:
        Pixels (resolution, resolution, 3) uint8.
    """
    side = min(image.size)
    left, top = round(x * (image.width - side)), round(y * (image.height - side))
    return _resized(image, resolution, (left, top, left + side, top + side))


def fit(image: Image.Image, resolution: int) -> np.ndarray:
    """Return the center square of an RGB image, resized by area averaging: (resolution, resolution, 3) uint8."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return _resized(image, resolution, (left, top, left + side, top + side))


def _resized(image: Image.Image, resolution: int, box: tuple[int, int, int, int]) -> np.ndarray:
    if image.size != (resolution, resolution):
        how = Image.Resampling.BOX if box[2] - box[0] >= resolution else Image.Resampling.BICUBIC
        image = image.resize((resolution, resolution), how, box=box)
    return np.asarray(image)
