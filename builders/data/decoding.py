"""Decoding of untrusted images, and crops of them."""

from __future__ import annotations

import io
import logging
import warnings
from functools import cache

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from builders.data.errors import DataError
from builders.data.recognition.formats import FORMATS
from builders.resizing import resize

__all__ = ["MAX_PIXELS", "decode_image", "fit", "fit_random"]

#: Largest number of pixels; larger images are refused before they are decoded.
MAX_PIXELS = 64_000_000
LIMIT = "64 megapixels"
READ = "PNG, WebP, JPEG, GIF, AVIF, TIFF, BMP, JPEG 2000 or PPM"


def decode_image(content: bytes, name: str) -> Image.Image:
    """Decode an image of one of the formats in :mod:`builders.data.recognition.formats` to RGB.

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
            # Pillow warns of damaged metadata, and of large images, which are refused here.
            warnings.simplefilter("ignore")
            image: Image.Image = Image.open(io.BytesIO(content), formats=_formats())
            if image.width * image.height > MAX_PIXELS:
                raise DataError(f"{name}: {image.width}x{image.height} pixels; the limit is {LIMIT}")
            return _plain(image)
    except (DataError, MemoryError):
        raise
    except Image.DecompressionBombError:
        raise DataError(f"{name}: more than {LIMIT}") from None
    except UnidentifiedImageError:
        raise DataError(f"{name}: not a {READ} image") from None
    except Exception as error:  # whatever a decoder of Pillow raises for a damaged file
        raise DataError(f"{name}: broken image: {error or type(error).__name__}") from None


@cache
def _formats() -> tuple[str, ...]:
    """Return the formats that this Pillow can decode."""
    # Pillow logs what is wrong with a TIFF before it raises. Without a handler, Python would print it.
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    Image.preinit()
    if not set(FORMATS) <= set(Image.OPEN):
        Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _plain(image: Image.Image) -> Image.Image:
    """Return an image of any mode as RGB."""
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers; convert it to 8 or 16 bits")
    if image.mode.startswith("I"):
        image = _scaled(image)
    image = ImageOps.exif_transpose(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (255, 255, 255, 255)), image)
    return image.convert("RGB")


def _scaled(image: Image.Image) -> Image.Image:
    """Return an image of 16 bits with 8, which Pillow would clip at 255, and with its EXIF data."""
    levels = np.asarray(image).astype(np.int64).clip(0, 65535)
    scaled = Image.fromarray((levels // 257).astype(np.uint8))
    # Where Pillow looks for the orientation.
    scaled.info = {name: value for name, value in image.info.items() if name != "transparency"}
    return scaled


def fit_random(image: Image.Image, resolution: int, x: float, y: float) -> np.ndarray:
    """Return the largest square of an RGB image at a position, resized by :func:`builders.resizing.resize`.

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
    return np.asarray(resize(image, (resolution, resolution), (left, top, left + side, top + side)))


def fit(image: Image.Image, resolution: int, method: str = "area") -> np.ndarray:
    """Return the center square of an RGB image, resized by :func:`builders.resizing.resize`.

    Args:
        image: RGB image.
        resolution: Side of the result in pixels.
        method: Method of resizing, one of :data:`builders.resizing.RESIZINGS`.

    Returns:
        Pixels (resolution, resolution, 3) uint8.
    """
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return np.asarray(resize(image, (resolution, resolution), (left, top, left + side, top + side), method))
