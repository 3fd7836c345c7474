"""Formats of image and video files, by extension."""

from __future__ import annotations

__all__ = ["FORMATS", "IMAGES", "MEDIA", "OTHER_IMAGES", "SHARDS", "VIDEOS", "content_extension", "extension_of"]

#: Extensions of images, in order of preference where a sample has several.
IMAGES = (
    *("png", "webp", "jpg", "jpeg", "gif"),
    *("jfif", "jpe", "avif", "apng", "tif", "tiff", "bmp", "dib", "jp2", "j2k", "ppm", "pgm", "pbm", "pnm"),
)
#: Extensions of images that are not read.
OTHER_IMAGES = (
    *("heic", "heif", "jxl", "svg", "ico", "tga", "psd", "exr", "hdr", "raw", "dng", "cr2", "nef", "arw", "jif"),
    *("jpx", "jxr", "pcx", "sgi", "xcf", "eps", "dcm", "pfm", "qoi"),
)
#: Extensions of videos, in order of preference where a sample has several.
VIDEOS = ("mp4", "webm", "mkv", "mov", "avi", "m4v")
#: Extensions of the members that samples consist of besides texts; images are preferred to videos.
MEDIA = (*IMAGES, *VIDEOS)
#: Formats that Pillow may decode. Others hold programs, or are not recognised by their first bytes.
FORMATS = ("PNG", "WEBP", "JPEG", "GIF", "AVIF", "TIFF", "BMP", "DIB", "JPEG2000", "PPM")
#: First bytes of images.
_STARTS = (
    (b"\xff\xd8\xff", "jpg"),
    (b"GIF8", "gif"),
    (b"BM", "bmp"),
    (b"II*\0", "tif"),
    (b"MM\0*", "tif"),
    (b"\0\0\0\x0cjP", "jp2"),
    (b"P5", "pgm"),
    (b"P6", "ppm"),
)
#: Extensions of shards.
SHARDS = (".tar", ".tar.gz", ".tgz", ".tar.xz")


def extension_of(name: str) -> str:
    """Return the extension of a path, lowercase and without the dot; "" if it has none."""
    stem, dot, extension = name.rpartition("/")[2].rpartition(".")
    return extension.lower() if dot and stem else ""


def content_extension(content: bytes) -> str:
    """Return the extension of an image by its first bytes; "png" if they are not known."""
    known = next((extension for start, extension in _STARTS if content.startswith(start)), "png")
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "webp"
    return "avif" if content[4:12] in (b"ftypavif", b"ftypavis") else known
