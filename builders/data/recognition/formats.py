"""Formats of image files, by extension."""

from __future__ import annotations

__all__ = ["FORMATS", "IMAGES", "SHARDS", "extension_of"]

#: Extensions of images, in order of preference where a sample has several.
IMAGES = (
    *("png", "webp", "jpg", "jpeg", "gif"),
    *("jfif", "jpe", "avif", "apng", "tif", "tiff", "bmp", "dib", "jp2", "j2k", "ppm", "pgm", "pbm", "pnm"),
)
#: Formats that Pillow may decode. Others hold programs, or are not recognised by their first bytes.
FORMATS = ("PNG", "WEBP", "JPEG", "GIF", "AVIF", "TIFF", "BMP", "DIB", "JPEG2000", "PPM")
#: Extensions of shards.
SHARDS = (".tar", ".tar.gz", ".tgz", ".tar.xz")


def extension_of(name: str) -> str:
    """Return the extension of a path, lowercase and without the dot; "" if it has none."""
    stem, dot, extension = name.rpartition("/")[2].rpartition(".")
    return extension.lower() if dot and stem else ""
