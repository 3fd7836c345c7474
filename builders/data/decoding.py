"""Decoding of untrusted images, and crops of them."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from builders.data.errors import DataError
from builders.data.recognition.formats import FORMATS
from builders.resizing import resize, resize_reduced

__all__ = ["MAX_PIXELS", "Reduced", "decode_image", "decode_reduced", "fit", "fit_random", "fit_reduced"]

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
    with _clear_errors(name):
        return _plain(_opened(content, name))


def decode_reduced(content: bytes, name: str, side: int) -> Reduced:
    """Decode an image as :func:`decode_image` does, large JPEG images at half, a quarter or an eighth of their size.

    Their shorter side is then at least twice ``side``. Levels of images that are resized to ``side`` differ a little
    from those of images that are decoded whole (docs/measurements.md).

    Args:
        content: Bytes of the file.
        name: Name of the image in messages.
        side: Side in pixels to which the image will be resized.

    Raises:
        DataError: As for :func:`decode_image`.
    """
    with _clear_errors(name):
        image = _opened(content, name)
        size, scale = image.size, 1
        # Other orientations count pixels from the other side, where reduced pixels may lie partly outside.
        if image.format == "JPEG" and min(size) >= 4 * side and _is_upright(image):
            drafted = image.draft(None, (2 * side, 2 * side))
            scale = 1 if drafted is None else round(size[0] / drafted[1][2])
        plain = _plain(image)
        return Reduced(plain, size if scale > 1 else plain.size, scale)


@dataclass(frozen=True)
class Reduced:
    """An image that may have been decoded at a smaller size.

    Attributes:
        image: RGB image.
        size: Width and height in pixels as stored.
        scale: Factor by which the image is smaller: 1, 2, 4 or 8.
    """

    image: Image.Image
    size: tuple[int, int]
    scale: int


def _opened(content: bytes, name: str) -> Image.Image:
    """Open an image that is small enough, without decoding it."""
    image: Image.Image = Image.open(io.BytesIO(content), formats=_formats())
    if image.width * image.height > MAX_PIXELS:
        raise DataError(f"{name}: {image.width}x{image.height} pixels; the limit is {LIMIT}")
    return image


@contextmanager
def _clear_errors(name: str) -> Iterator[None]:
    """Turn whatever Pillow raises into a DataError that names the image."""
    try:
        with warnings.catch_warnings():
            # Pillow warns of damaged metadata, and of large images, which are refused here.
            warnings.simplefilter("ignore")
            yield
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


def _is_upright(image: Image.Image) -> bool:
    """Return whether an image need not be turned. A JPEG without these metadata has no orientation."""
    if image.format == "JPEG" and not {"exif", "xmp", "XML:com.adobe.xmp"} & image.info.keys():
        return True
    return image.getexif().get(ExifTags.Base.Orientation, 1) == 1


def _plain(image: Image.Image) -> Image.Image:
    """Return an image of any mode as RGB; one that is RGB and upright already is not copied."""
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers; convert it to 8 or 16 bits")
    if image.mode.startswith("I"):
        image = _scaled(image)
    image.load()  # PNG may have its orientation behind its pixels
    if not _is_upright(image):
        ImageOps.exif_transpose(image, in_place=True)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (255, 255, 255, 255)), image)
    return image if image.mode == "RGB" else image.convert("RGB")


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
    return np.asarray(resize(image, (resolution, resolution), _square(image.size, (x, y))))


def fit_reduced(reduced: Reduced, resolution: int, corner: tuple[float, float] | None = None) -> np.ndarray:
    """Return a square of an image, resized: :func:`fit`, or :func:`fit_random` if a corner is given.

    Args:
        reduced: Image that was decoded for this resolution.
        resolution: Side of the result in pixels.
        corner: Position of the square, from 0 to 1 in x and y. Default: the center square.

    Returns:
        Pixels (resolution, resolution, 3) uint8.
    """
    if reduced.scale == 1:
        image = reduced.image
        return fit(image, resolution) if corner is None else fit_random(image, resolution, *corner)
    box = _square(reduced.size, corner)
    return np.asarray(resize_reduced(reduced.image, (resolution, resolution), box, reduced.scale))


def _square(size: tuple[int, int], corner: tuple[float, float] | None = None) -> tuple[int, int, int, int]:
    """Return the largest square of an image: left, top, right and bottom in pixels."""
    side = min(size)
    if corner is None:
        left, top = (size[0] - side) // 2, (size[1] - side) // 2
    else:
        left, top = round(corner[0] * (size[0] - side)), round(corner[1] * (size[1] - side))
    return left, top, left + side, top + side


def fit(image: Image.Image, resolution: int, method: str = "area") -> np.ndarray:
    """Return the center square of an RGB image, resized by :func:`builders.resizing.resize`.

    Args:
        image: RGB image.
        resolution: Side of the result in pixels.
        method: Method of resizing, one of :data:`builders.resizing.RESIZINGS`.

    Returns:
        Pixels (resolution, resolution, 3) uint8.
    """
    return np.asarray(resize(image, (resolution, resolution), _square(image.size), method))
