"""Images from bytes that nobody vouches for."""

from __future__ import annotations

import io
import warnings

import numpy as np
from PIL import Image, UnidentifiedImageError

from builders.shards import DataError

__all__ = ["MAX_PIXELS", "decode_image", "fit"]

#: Larger images are refused before they are decoded.
MAX_PIXELS = 64_000_000
LIMIT = "64 megapixels"


def decode_image(content: bytes, name: str) -> Image.Image:
    """A PNG, WebP or JPEG as RGB, transparency on white.

    Raises:
        DataError: it is none of these, is broken, or has more than 64 megapixels (seen before it is decoded).
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image: Image.Image = Image.open(io.BytesIO(content), formats=("PNG", "WEBP", "JPEG"))
        if image.width * image.height > MAX_PIXELS:
            raise DataError(f"{name}: {image.width}x{image.height} pixels; the limit is {LIMIT}")
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, (255, 255, 255, 255)), image)
        return image.convert("RGB")
    except Image.DecompressionBombError:
        raise DataError(f"{name}: more than {LIMIT}") from None
    except UnidentifiedImageError:
        raise DataError(f"{name}: not a PNG, WebP or JPEG image") from None
    except (OSError, SyntaxError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{name}: broken image: {error}") from None


def fit(image: Image.Image, resolution: int) -> np.ndarray:
    """The central square of an RGB image at ``resolution`` pixels, area-averaged: (resolution, resolution, 3) uint8."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    if image.size != (resolution, resolution):
        how = Image.Resampling.BOX if side >= resolution else Image.Resampling.BICUBIC
        image = image.resize((resolution, resolution), how, box=(left, top, left + side, top + side))
    return np.asarray(image)
