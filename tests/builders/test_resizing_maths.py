"""Resizing: the exact area average for any factor; whole factors as in earlier versions."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from builders.data.decoding import fit, fit_random
from builders.resizing import is_fractional, resize
from tests.helpers.images import noise


def averaged(image, size):
    """Repeat every pixel so that new pixels cover whole ones, and average these."""
    pixels = np.asarray(image).astype(np.float64).repeat(size[1], 0).repeat(size[0], 1)
    return pixels.reshape(size[1], image.height, size[0], image.width, 3).mean((1, 3))


SIZES = [
    ((18, 18), (16, 16)),
    ((9, 7), (4, 3)),
    ((24, 18), (16, 16)),
    ((7, 8), (7, 3)),
    ((32, 50), (16, 17)),
    ((1, 9), (1, 4)),
    ((5, 1), (3, 1)),
    ((3, 2), (2, 1)),
    ((13, 13), (12, 1)),
]


@pytest.mark.parametrize(("old", "new"), SIZES)
def test_any_factor_is_the_exact_area_average(old, new):
    image = noise(*old)
    found, wanted = np.asarray(resize(image, new)), averaged(image, new)
    assert found.shape == (new[1], new[0], 3) and is_fractional(*old, new)
    assert np.array_equal(found, np.floor(wanted + 0.5 + 1e-9))


def test_constant_images_stay_constant():
    for level in (0, 1, 254, 255):
        pixels = np.full((71, 67, 3), level, np.uint8)
        assert (np.asarray(resize(Image.fromarray(pixels), (64, 53))) == level).all()


def test_sums_of_long_images_are_exact():
    # 255 times the length does not fit into the whole numbers of float32.
    pixels = np.full((70_001, 1, 3), 255, np.uint8)
    pixels[-1] = 0
    found = np.asarray(resize(Image.fromarray(pixels), (1, 2)))[:, 0, 0]
    assert found.tolist() == [255, 255]
    pixels[35_000:] = 0  # half of the value in the middle
    assert np.asarray(resize(Image.fromarray(pixels), (1, 2)))[:, 0, 0].tolist() == [255, 0]
    pixels[:] = [[[3, 3, 3]]]
    pixels[::2] = 2
    assert np.asarray(resize(Image.fromarray(pixels), (1, 69_999)))[:, 0, 0].mean() == pytest.approx(2.5, abs=0.01)


@pytest.mark.parametrize(
    ("old", "new"), [((64, 64), (32, 32)), ((96, 64), (32, 64)), ((9, 3), (3, 3)), ((8, 8), (8, 8))]
)
def test_whole_factors_are_those_of_earlier_versions_to_the_bit(old, new):
    image = noise(*old)
    assert not is_fractional(*old, new)
    assert np.array_equal(resize(image, new), image.resize(new, Image.Resampling.BOX))


def test_larger_images_are_bicubic():
    for old, new in (((5, 4), (8, 8)), ((9, 4), (8, 8)), ((1, 1), (3, 3))):
        image = noise(*old)
        assert not is_fractional(*old, new)
        assert np.array_equal(resize(image, new), image.resize(new, Image.Resampling.BICUBIC))


@pytest.mark.parametrize("box", [(2, 3, 5, 8), (3, 2, 8, 5), (4, 5, 6, 7)])
def test_parts_of_images_are_made_larger_within_the_whole_image(box):
    """One side alone may be too short."""
    image = noise(9, 9)
    expected = image.resize((4, 4), Image.Resampling.BICUBIC, box=box)
    assert np.array_equal(resize(image, (4, 4), box), expected)


def test_the_former_method_and_parts_of_images():
    image = noise(9, 9)
    assert np.array_equal(resize(image, (4, 4), method="box"), image.resize((4, 4), Image.Resampling.BOX))
    part = image.crop((1, 2, 8, 9))
    for size in ((7, 7), (4, 3), (7, 1)):
        assert np.array_equal(resize(image, size, (1, 2, 8, 9)), resize(part, size))
    assert resize(image, (9, 9)) is image


def test_crops_of_images_that_are_no_squares():
    image = noise(100, 72)
    assert np.array_equal(fit(image, 64), resize(image.crop((14, 0, 86, 72)), (64, 64)))
    assert np.array_equal(fit_random(image, 64, 1, 0), resize(image.crop((28, 0, 100, 72)), (64, 64)))
    assert fit(noise(50, 1), 2).shape == (2, 2, 3)


def test_an_average_just_below_a_half_is_rounded_down():
    # The sum is above 2^24, where float32 holds even numbers only: it would round this one up.
    pixels = np.full((70_001, 1, 3), 247, np.uint8)
    pixels[:17_623] = 248
    pixels[35_000] = 1
    total = 2 * int(pixels[:35_000, 0, 0].sum()) + 1
    assert 2 * total == 2 * 70_001 * 247 + 70_001 - 1
    assert np.asarray(resize(Image.fromarray(pixels), (1, 2)))[0, 0].tolist() == [247] * 3
