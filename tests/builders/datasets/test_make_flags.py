"""Datasets of flags made from SVG files; the renderer is no dependency, so that a stand-in draws them."""

from __future__ import annotations

import io
import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from builders.data.open import open_data
from builders.datasets.make_flags import SHAPES, draw_flag, main

MIT = "The MIT License (MIT)\n\nCopyright (c) 2013 Panayiotis Lipiridis\n"


def svg_to_bytes(svg_path, width, skip_system_fonts):
    """Draw a plain flag; the file holds its color, or "broken"."""
    with open(svg_path) as file:
        color = file.read()
    if color == "broken":
        raise ValueError("no SVG")
    height = width if "1x1" in svg_path else round(width * 0.75)
    buffer = io.BytesIO()
    Image.new("RGBA", (width, height), color).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def source(tmp_path, monkeypatch):
    """Folder with flag-icons, whose flags have one color each; aa and bb look alike."""
    monkeypatch.setitem(sys.modules, "resvg_py", SimpleNamespace(svg_to_bytes=svg_to_bytes))
    package = tmp_path / "source" / "node_modules" / "flag-icons"
    colors = {"aa": "#ff0000", "bb": "#fe0000", "ff": "#0000ff", "dd": "#00ff00", "xx": "#000000"}
    countries = []
    for code, color in colors.items():
        facts = {"code": code, "name": code.upper(), "continent": "Asia"}
        for ratio in ("4x3", "1x1"):
            path = package / "flags" / ratio / f"{code}.svg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(color)
            facts[f"flag_{ratio}"] = f"flags/{ratio}/{code}.svg"
        countries.append(facts)
    (package / "country.json").write_text(json.dumps(countries))
    (package / "package.json").write_text('{"version": "7.0.0"}')
    (package / "LICENSE").write_text(MIT)
    return tmp_path / "source"


def test_make(source, tmp_path):
    for name in ("a", "b"):
        assert main([str(source), str(tmp_path / name), "--resolution", "16"]) == 0
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
    parts = [open_data(tmp_path / "a", split=split) for split in ("train", "val")]
    keys = [key for part in parts for key in part.keys]
    assert sorted(keys) == sorted(f"{code}-{shape}" for code in ("aa", "bb", "ff", "dd") for shape in SHAPES)
    # All shapes of a flag, and flags that look alike, are in one split.
    assert all({"aa" in key[:2] for key in part.keys} == {"bb" in key[:2] for key in part.keys} for part in parts)
    assert all(len([key for key in part.keys if key.startswith("ff")]) in (0, 4) for part in parts)
    card = parts[0].card
    assert (card.name, card.licence, card.classes) == ("flags-16", "MIT", SHAPES) and "7.0.0" in card.source
    where = next((part, part.keys.index("ff-disc")) for part in parts if "ff-disc" in part.keys)
    assert where[0].captions[where[1]] == "Flag of FF, disc" and where[0].classes[where[1]] == 2
    assert MIT in (tmp_path / "a" / "NOTICE").read_text()


def test_shapes(source):
    flags = source / "node_modules" / "flag-icons" / "flags"
    files = {ratio: flags / ratio / "ff.svg" for ratio in ("4x3", "1x1")}
    drawn = {shape: np.asarray(draw_flag(files, shape, 32)).astype(int) for shape in SHAPES}
    share = {shape: float((pixels[..., 0] < 128).mean()) for shape, pixels in drawn.items()}
    assert abs(share["rectangle"] - 0.875**2 * 0.75) < 0.03 and abs(share["square"] - 0.875**2) < 0.03
    assert abs(share["disc"] - np.pi / 4 * 0.875**2) < 0.03 and abs(share["waving"] - share["rectangle"]) < 0.05
    assert all((pixels[[0, 0, -1, -1], [0, -1, 0, -1]] == 255).all() for pixels in drawn.values())
    rectangle, waving = ((drawn[shape][..., 0] < 128) for shape in ("rectangle", "waving"))
    assert len({tuple(column) for column in rectangle.T if column.any()}) == 1
    assert len({tuple(column) for column in waving.T if column.any()}) > 3
    inside = drawn["waving"][16, 4:28, 2]
    assert inside.max() <= 255 and inside.min() < 225  # shaded


def test_refused(source, tmp_path, capsys, monkeypatch):
    package = source / "node_modules" / "flag-icons"

    def message():
        assert main([str(source), str(tmp_path / "out"), "--resolution", "8"]) == 2
        return capsys.readouterr().err

    (package / "flags" / "4x3" / "ff.svg").write_text("broken")
    assert "ff.svg: cannot be drawn: no SVG" in message()
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    assert "pip install resvg-py" in message()
    (package / "country.json").write_text('[{"name": 3}]')
    assert "country.json: cannot be read" in message()
    (package / "LICENSE").write_text("all rights reserved")
    assert "not the MIT License" in message()
    (package / "package.json").unlink()
    assert "package.json: no such file; install the packages first" in message()


@pytest.mark.parametrize("content", ["[]", '[{"code": "aa", "name": "AA", "flag_4x3": "flags/4x3/aa.svg"}]'])
def test_other_facts_of_flags_are_one_message(source, tmp_path, capsys, content):
    (source / "node_modules" / "flag-icons" / "country.json").write_text(content)
    assert main([str(source), str(tmp_path / "a")]) == 2
    assert "country.json: cannot be read: not a list of flags with code, name, flag_4x3, flag_1x1" in (
        capsys.readouterr().err
    )
