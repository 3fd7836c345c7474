"""The packaged datasets that scripts make: content, hashes, licences and splits."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

import builders.datasets
from builders.data.open import open_data, open_dataset
from builders.datasets import make_flags, make_glyphs
from builders.datasets.near_duplicates import close_pairs

FOLDER = Path(builders.datasets.__file__).parent


@pytest.fixture(scope="module")
def glyphs():
    return open_data("glyphs-64", 16), open_data("glyphs-64", 16, "val")


@pytest.mark.parametrize("name", ["flags-64", "glyphs-64"])
def test_bytes(name):
    lines = (FOLDER / name / "SHA256SUMS").read_text().splitlines()
    assert [line.split("  ")[1] for line in lines] == ["train.tar.gz", "val.tar.gz"]
    contents = {line.split("  ")[1]: (FOLDER / name / line.split("  ")[1]).read_bytes() for line in lines}
    assert [hashlib.sha256(content).hexdigest() for content in contents.values()] == [line[:64] for line in lines]
    assert sum(map(len, contents.values())) < 3e6


def test_glyphs(glyphs):
    train, val = glyphs
    assert (len(train), len(val)) == (3339, 441) and train.card.resolution == 64
    assert (train.classes.bincount(minlength=36) > 50).all() and len(train.card.classes) == 36
    dataset = open_dataset("glyphs-64")
    assert (dataset.class_index("7"), dataset.class_index("a")) == (7, 10)
    for data in glyphs:
        assert [key[0].upper() for key in data.keys] == [train.card.classes[index] for index in data.classes]
        assert (data.images[:, :, 0, 0] == 255).all() and (data.images[:, 0] == data.images[:, 1]).all()


def test_variants_of_a_glyph_are_in_one_split(glyphs):
    train, val = ({key.removesuffix("-italic").rpartition("-")[0] for key in data.keys} for data in glyphs)
    assert not train & val and len(train | val) == 36 * 40


def test_flags():
    train, val = open_data("flags-64", 8), open_data("flags-64", 8, "val")
    assert (len(train), len(val)) == (992, 88) and train.card.classes == make_flags.SHAPES
    codes = [{key.rpartition("-")[0] for key in data.keys} for data in (train, val)]
    assert not codes[0] & codes[1] and len(codes[0] | codes[1]) == 270
    assert train.classes.bincount().tolist() == [248] * 4
    assert "Flag of Japan, disc" in train.captions + val.captions


@pytest.mark.slow
@pytest.mark.parametrize(("name", "share"), [("flags-64", make_flags.SIMILAR), ("glyphs-64", make_glyphs.SIMILAR)])
def test_no_near_duplicates_across_splits(name, share):
    split = [open_data(name, 32, split).images.flatten(1).numpy() for split in ("train", "val")]
    # Images are read with another rounding than they were compared with.
    pairs = close_pairs(1 - np.concatenate(split).astype(np.float64) / 255, 0.98 * share)
    assert pairs and not [(i, j) for i, j in pairs if (i < len(split[0])) != (j < len(split[0]))]


def test_notice_has_the_licence_of_every_font():
    notice = (FOLDER / "glyphs-64" / "NOTICE").read_text("utf-8")
    assert "SIL OPEN FONT LICENSE Version 1.1" in notice and "PERMISSION & CONDITIONS" in notice
    assert notice.count("\n@fontsource/") == 40
