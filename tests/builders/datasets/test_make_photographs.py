"""Datasets cut out of the pictures of installed packages."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from builders.data.open import open_data
from builders.datasets.make_photographs import PICTURES, SKIMAGE, SKLEARN, cut, main


@pytest.fixture
def source(tmp_path):
    """Folder with packages whose pictures are noise of 48 by 40 pixels."""
    noise = np.random.default_rng(0)
    functions = ["import os"]
    for picture in PICTURES:
        path = tmp_path / "source" / picture.path
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise.integers(0, 255, (40, 48, 3), np.uint8)).save(path)
        words = picture.licence.replace(" ", "\n    ")  # lines may break anywhere
        functions.append(f'def {path.stem}():\n    """A picture.\n\n    {words}\n    """\n')
    (tmp_path / "source" / SKIMAGE / "_fetchers.py").write_text("\n".join(functions))
    (tmp_path / "source" / SKLEARN / "README.txt").write_text("[1] https://creativecommons.org/licenses/by/2.0/")
    return tmp_path / "source"


def test_make(source, tmp_path):
    for name in ("a", "b"):
        assert main([str(source), str(tmp_path / name), "--resolution", "8"]) == 0
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
    parts = [open_data(tmp_path / "a", split=split) for split in ("train", "val")]
    assert sum(map(len, parts)) == len(PICTURES) * 5 * 6 and min(map(len, parts)) > 0
    blocks = [
        {(name, int(row) // 2, int(column) // 2) for name, row, column in (key.split("-") for key in part.keys)}
        for part in parts
    ]
    assert not blocks[0] & blocks[1]
    assert parts[0].card.classes == tuple(sorted(picture.category for picture in PICTURES))
    key = parts[0].keys[0]
    assert parts[0].card.classes[parts[0].classes[0]] == key.split("-")[0]
    assert parts[0].captions[0] == "Part of a photograph of an astronaut"
    notice = (tmp_path / "a" / "NOTICE").read_text()
    assert notice.count("creativecommons.org") == 2 and "skimage/data/coffee.png\n\nA picture." in notice


def test_pictures_that_are_too_small_are_no_classes(source, tmp_path, capsys):
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(source / SKIMAGE / "brick.png")
    assert main([str(source), str(tmp_path / "a"), "--resolution", "16"]) == 0
    card = open_data(tmp_path / "a").card
    assert "brick" not in card.classes and len(card.classes) == len(PICTURES) - 1
    assert card.summary == f"Squares of {len(PICTURES) - 1} photographs and textures."
    assert main([str(source), str(tmp_path / "b"), "--resolution", "64"]) == 2
    assert "no picture has a square of 64 pixels; choose a smaller --resolution" in capsys.readouterr().err


def test_squares_do_not_overlap_and_flat_ones_are_left_out():
    pixels = np.random.default_rng(0).integers(0, 255, (20, 28, 3), np.uint8)
    pixels[:10, :10] = 0
    squares = list(cut(Image.fromarray(pixels), 8))
    assert [(row, column) for row, column, _ in squares] == [(0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
    assert np.array_equal(squares[0][2], pixels[2:10, 10:18]) and np.array_equal(squares[-1][2], pixels[10:18, 18:26])


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (SKIMAGE / "_fetchers.py", "def astronaut(): pass", "astronaut has not the licence 'released into the public"),
        (SKIMAGE / "_fetchers.py", "def (", "cannot be read"),
        (SKIMAGE / "_fetchers.py", None, "install scikit-image there first"),
        (SKLEARN / "README.txt", "All rights reserved.", "README.txt: not the creativecommons.org/licenses/by/2.0"),
        (SKIMAGE / "brick.png", None, "brick.png: No such file or directory; install both packages there first"),
        (SKIMAGE / "brick.png", "no picture", "brick.png"),
    ],
)
def test_refused(source, tmp_path, capsys, name, text, message):
    if text is None:
        (source / name).unlink()
    else:
        (source / name).write_text(text)
    assert main([str(source), str(tmp_path / "out"), "--resolution", "8"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and error.count("\n") == 1
