"""Datasets of glyphs made from installed fonts."""

from __future__ import annotations

import json

import numpy as np
import pytest
import yaml

from builders.data.errors import DataError
from builders.data.open import open_data
from builders.datasets.make_glyphs import CHARACTERS, draw_glyph, find_fonts, main
from tests.helpers.fonts import FONT, write_fonts


def test_make(tmp_path, capsys):
    source = write_fonts(tmp_path / "fonts", "one", "two")
    for folder in ("a", "b"):
        assert main([str(source), str(tmp_path / folder), "--resolution", "8"]) == 0
    for name in ("train.tar.gz", "val.tar.gz", "dataset.yaml", "NOTICE", "SHA256SUMS", "package.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    train, val = (open_data(tmp_path / "a", split=split) for split in ("train", "val"))
    assert len(train) + len(val) == 72 and train.card.name == "glyphs-8" and train.card.licence == "OFL-1.1"
    assert train.card.classes == tuple("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == tuple(CHARACTERS)
    for data in (train, val):
        # Both families are the same font, so that equal characters are near-duplicates.
        characters = [key[0].upper() for key in data.keys]
        assert [train.card.classes[index] for index in data.classes] == characters
        assert all(characters.count(character) == 2 for character in characters)
    where = train.keys.index("a-one-400")
    assert train.captions[where] == "Letter A, serif, regular" and train.images.shape[-1] == 8
    notice = (tmp_path / "a" / "NOTICE").read_text()
    assert "@fontsource/one 5.0.0: Copyright 2020 The one Authors\n" in notice
    assert notice.count("SIL OPEN FONT LICENSE") == 1
    assert yaml.safe_load((tmp_path / "a" / "dataset.yaml").read_text())["splits"]["train"]["samples"] == len(train)
    assert "val.tar.gz: " in capsys.readouterr().out


def test_styles(tmp_path):
    source = write_fonts(tmp_path, "one", weights=(100, 300, 400, 500, 900), styles=("normal", "italic"))
    fonts, _ = find_fonts(source)
    assert [font.style for font in fonts] == ["light", "regular", "black", "regular italic"]
    assert fonts[-1].path.name == "one-latin-400-italic.woff"


def test_ranges_of_versions(tmp_path):
    source = write_fonts(tmp_path / "fonts", "one")
    wanted = {"dependencies": {"@fontsource/one": "^4.9.0", "left-pad": "1.0.0"}}
    (source / "package.json").write_text(json.dumps(wanted))
    assert main([str(source), str(tmp_path / "out"), "--resolution", "8"]) == 0
    written = json.loads((tmp_path / "out" / "package.json").read_text())
    assert written == {"dependencies": {"@fontsource/one": "5.0.0"}}


def test_glyphs_are_in_the_middle_and_alike_at_every_size():
    large, small = (np.asarray(draw_glyph(FONT, "A", side))[:, :, 0].astype(float) for side in (64, 32))
    assert abs(large.reshape(32, 2, 32, 2).mean((1, 3)) - small).mean() < 3  # of 255
    rows, columns = np.nonzero(large < 128)
    assert abs(rows.min() + rows.max() - 63) <= 1 and abs(columns.min() + columns.max() - 63) <= 1
    assert 38 <= rows.max() - rows.min() + 1 <= 41  # 0.62 of the side
    wide = np.nonzero((np.asarray(draw_glyph(FONT, "\N{EM DASH}", 64)) < 128).any((0, 2)))[0]
    assert wide.max() - wide.min() + 1 <= 54  # 0.84 of the side


def _licence(package):
    (package / "LICENSE").write_text("Apache License")


def _version(package):
    (package / "package.json").write_text(json.dumps({"version": "6.0.0"}))


def _file(package):
    next((package / "files").iterdir()).unlink()


def _damage(package):
    next((package / "files").iterdir()).write_bytes(b"no font")


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (_licence, "LICENSE: not the SIL Open Font License Version 1.1; leave this package out"),
        (_version, "version 6.0.0, but package.json names 5.0.0; npm install"),
        (_file, "one-latin-400-normal.woff: no such file"),
        (_damage, "cannot be read as a font"),
        (lambda package: (package / "metadata.json").unlink(), "no such file; install the packages first"),
        (lambda package: (package / "LICENSE").unlink(), "the licence cannot be read"),
        (lambda package: (package / "metadata.json").write_text("[]"), "not a JSON object"),
        (lambda package: (package / "metadata.json").write_text("{"), "cannot be read as JSON"),
        (lambda package: (package / "metadata.json").write_text("{}"), "lacks id, family, category, weights, styles"),
        (lambda package: (package.parents[2] / "package.json").write_text("{}"), "no dependencies @fontsource/NAME"),
    ],
)
def test_refused(tmp_path, capsys, harm, message):
    source = write_fonts(tmp_path / "fonts", "one")
    harm(source / "node_modules" / "@fontsource" / "one")
    assert main([str(source), str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_missing_character():
    with pytest.raises(DataError, match="has no character"):
        draw_glyph(FONT, "\u4e00", 32)
