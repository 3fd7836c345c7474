"""Grids, contact sheets, nearest images and PNG files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from builders.pictures import contact_sheet, sample_grid, save_image
from builders.pixels import to_pil
from builders.sampling.nearest import nearest_images
from tests.helpers.images import read_image


def colours(count, size):
    values = torch.linspace(-1, 1, count)
    return values[:, None, None, None].expand(count, 3, size, size)


def test_to_pil():
    image = to_pil(torch.tensor([-2.0, -1.0, 0.0, 2.0]).reshape(1, 2, 2))
    assert image.mode == "RGB" and np.asarray(image).tolist() == [[[0] * 3, [0] * 3], [[128] * 3, [255] * 3]]


@pytest.mark.parametrize("kind", ["uint8", "float"])
def test_nearest_images(kind):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (50, 3, 8, 8), generator=generator, dtype=torch.uint8)
    known = images if kind == "uint8" else images.float() / 127.5 - 1
    wanted = torch.tensor([49, 3, 17])
    noise = 0.01 * torch.randn(3, 3, 8, 8, generator=generator)
    indices, distances = nearest_images(images[wanted].float() / 127.5 - 1 + noise, known, chunk=7)
    assert torch.equal(indices, wanted)
    torch.testing.assert_close(distances, noise.square().flatten(1).mean(1).sqrt(), atol=2e-3, rtol=0)
    with pytest.raises(ValueError, match="not comparable"):
        nearest_images(torch.zeros(1, 3, 4, 4), known)


def test_grid_shows_every_level_and_the_nearest():
    levels = [colours(3, size) for size in (64, 32, 16)]
    grid = sample_grid(levels, ["a", "b", "c"], torch.ones(3, 3, 64, 64), ["x", "y", "z"], columns=1, title="title")
    # Four cells of 128 pixels beside one another, three rows.
    assert grid.width == 2 * 16 + 4 * 128 + 3 * 8
    pixels = grid.load()
    for row, value in enumerate((0, 128, 255)):
        y = 16 + 36 + row * (128 + 18 + 8) + 64
        assert [pixels[16 + place * 136 + 64, y] for place in range(4)] == [(value,) * 3] * 3 + [(255,) * 3]


def test_grid_of_many_is_about_square():
    grid = sample_grid([colours(60, 32), colours(60, 16)], [f"caption {index} " * 9 for index in range(60)])
    assert 0.6 < grid.width / grid.height < 1.7
    assert sample_grid([colours(1, 512)]).size > (512, 512)


def test_contact_sheet():
    images = torch.tensor([0, 100, 200], dtype=torch.uint8)[:, None, None, None].expand(3, 3, 40, 40)
    sheet = contact_sheet(images, columns=2, cell=96)
    # Cells of 3 x 40 pixels with 2 white pixels around; two rows of two.
    assert sheet.size == (2 * 122 + 2, 2 * 122 + 2)
    centers = [(62, 62), (184, 62), (62, 184), (184, 184), (122, 62)]
    assert [sheet.getpixel(center)[0] for center in centers] == [0, 100, 200, 255, 255]


def test_save_image_is_atomic(tmp_path, monkeypatch):
    path = tmp_path / "new" / "grid.png"
    assert save_image(Image.new("RGB", (4, 4), (1, 2, 3)), path) == path
    assert read_image(path).getpixel((0, 0)) == (1, 2, 3)
    before = path.read_bytes()

    def fail(self, file, *args, **options):
        Path(file).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OSError, match="No space"):
        save_image(Image.new("RGB", (4, 4)), path)
    assert path.read_bytes() == before and [file.name for file in path.parent.iterdir()] == ["grid.png"]
