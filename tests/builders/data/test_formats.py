"""Formats and modes of image files."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from builders.data.decoding import decode_image, decode_reduced
from builders.data.errors import DataError
from builders.data.image_folder import find_images
from builders.data.packing.sources import find_sources

RAMP = np.tile(np.linspace(0, 255, 16, dtype=np.uint8), (8, 1))
MODES = {
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "TIFF": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I;16B", "I"),
    "WEBP": ("RGB", "RGBA"),
    "JPEG": ("L", "RGB", "CMYK"),
    "AVIF": ("RGB", "RGBA"),
}


def ramp(mode):
    """Return a ramp from black at the left to white at the right."""
    if mode.startswith("I"):
        levels = RAMP.astype({"I": np.int32, "I;16": np.uint16, "I;16B": ">u2"}[mode]) * 257
        return Image.frombytes(mode, (16, 8), levels.tobytes())
    return Image.fromarray(RAMP).convert(mode)


def saved(image, form, **options):
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(("form", "mode"), [(form, mode) for form, modes in MODES.items() for mode in modes])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_every_mode_is_turned_alike(form, mode, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = np.asarray(decode_image(saved(ramp(mode), form, exif=exif), "x").convert("L")).astype(int)
    right = np.rot90(RAMP, {1: 0, 3: 2, 6: 3, 8: 1}[orientation]).astype(int)
    assert found.shape == right.shape
    ends = [(found[place], right[place]) for place in ((0, 0), (-1, -1), (0, -1), (-1, 0))]
    assert all(abs(a - b) <= 12 for a, b in ends)


@pytest.mark.parametrize("decode", [decode_image, lambda content, name: decode_reduced(content, name, 4).image])
def test_upright_images_of_three_colours_are_not_copied(decode, monkeypatch):
    content = saved(ramp("RGB"), "JPEG")
    for name in ("copy", "convert", "transpose"):
        monkeypatch.delattr(Image.Image, name)
    assert decode(content, "x").mode == "RGB"


def test_pixels_that_are_floats_are_refused():
    with pytest.raises(DataError, match="x: broken image: its pixels are floating-point numbers"):
        decode_image(saved(Image.fromarray(RAMP.astype(np.float32)), "TIFF"), "x")


def test_files_of_all_formats_are_read(tmp_path):
    forms = {"bmp": "BMP", "TIF": "TIFF", "tiff": "TIFF", "AVIF": "AVIF", "jfif": "JPEG", "JPG": "JPEG", "gif": "GIF",
             "WebP": "WEBP", "jp2": "JPEG2000", "ppm": "PPM", "pgm": "PPM", "apng": "PNG"}  # fmt: skip
    for extension, form in forms.items():
        (tmp_path / f"{extension}x.{extension}").write_bytes(saved(ramp("L"), form))
    assert len(find_images(tmp_path)) == len(find_sources(tmp_path)) == len(forms)
    for source in find_sources(tmp_path):
        assert decode_image(source.read(), source.origin).size == (16, 8) and source.extension.islower()


def test_other_formats_are_not_decoded():
    for form in ("PDF", "ICO", "TGA", "EPS", "SGI", "PCX"):
        with pytest.raises(DataError, match="x: not a PNG, WebP"):
            decode_image(saved(ramp("RGB"), form), "x")


def test_a_folder_of_videos_is_no_folder_of_images(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"")
    with pytest.raises(DataError, match=r"holds videos \(such as a.mp4\), not images; pack them first: zoo data pack"):
        find_images(tmp_path)
