"""Make a dataset of flags from the SVG files of the npm package flag-icons.

    npm install --prefix flags flag-icons@7.5.0 && pip install resvg-py
    python -m builders.datasets.make_flags flags FOLDER --resolution 64

Each flag is drawn in four shapes, which are the classes: a rectangle of 4 to 3, a square, a disc, and waving in the
wind. All shapes of a flag, and flags that look almost the same, are in one split. With one version of resvg-py and of
Pillow, the same files give the same bytes.
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from builders.data.errors import DataError
from builders.datasets.command import run
from builders.datasets.licences import licence_text, package_facts
from builders.datasets.near_duplicates import close_pairs, groups_of
from builders.datasets.samples import Sample, write_dataset
from builders.resizing import resize

__all__ = ["SHAPES", "draw_flag", "main", "make"]

SHAPES = ("rectangle", "square", "disc", "waving")
LICENCE = "MIT License"
#: Two flags are near-duplicates if their distance at 32 pixels is less than this share of the fainter one's distance
#: from white.
SIMILAR = 0.15
DESIGNS = "The designs\nof flags are in the public domain or otherwise exempt from copyright."
#: Code of the flag of no country.
UNKNOWN = "xx"
#: What country.json says of a flag: its code, its name and its files.
FACTS = ("code", "name", "flag_4x3", "flag_1x1")
#: Flags are drawn this many times as large, and reduced by exact averages.
OVERSAMPLING = 4
#: Width of a flag, and height of the waves from their middle, as shares of the side.
WIDTH, WAVE = 0.875, 0.055
WAVES = 1.25


def draw_flag(files: dict[str, Path], shape: str, side: int) -> Image.Image:
    """Draw a flag on white, in the middle of a square.

    Args:
        files: SVG files by aspect ratio: ``4x3`` and ``1x1``.
        shape: One of :data:`SHAPES`.
        side: Side of the image in pixels.

    Raises:
        DataError: A file cannot be drawn, or resvg-py is not installed.
    """
    large = side * OVERSAMPLING
    width = round(large * WIDTH)
    flag = _render(files["1x1" if shape in ("square", "disc") else "4x3"], width)
    mask = Image.new("L", flag.size, 255)
    if shape == "disc":
        mask = Image.new("L", flag.size, 0)
        ImageDraw.Draw(mask).ellipse((0, 0, width - 1, width - 1), fill=255)
    image = Image.new("RGB", (large, large), "white")
    image.paste(flag, ((large - flag.width) // 2, (large - flag.height) // 2), mask)
    if shape == "waving":
        image = Image.fromarray(_waved(np.asarray(image), (large - width) // 2))
    return resize(image, (side, side))


def _render(path: Path, width: int) -> Image.Image:
    try:
        import resvg_py
    except ImportError:
        raise DataError("drawing SVG files needs resvg-py: pip install resvg-py") from None
    try:
        drawn = bytes(resvg_py.svg_to_bytes(svg_path=str(path), width=width, skip_system_fonts=True))
        rgba = Image.open(io.BytesIO(drawn)).convert("RGBA")
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be drawn: {error}") from None
    white = Image.new("RGBA", rgba.size, "white")
    return Image.alpha_composite(white, rgba).convert("RGB")


def _waved(pixels: np.ndarray, left: int) -> np.ndarray:
    """Move the columns of a flag up and down, more so away from the pole at ``left``, and shade its slopes."""
    large = len(pixels)
    x = np.clip((np.arange(large) - left) / (large - 2 * left), 0, 1)
    phase = 2 * np.pi * WAVES * x
    rows = np.arange(large)[:, None] + np.rint(WAVE * large * np.sqrt(x) * np.sin(phase)).astype(int)
    moved = pixels[np.clip(rows, 0, large - 1), np.arange(large)]
    shade = 1 - 0.18 * np.sqrt(x) * (1 + np.cos(phase)) / 2
    cloth = (np.abs(rows - (large - 1) / 2) <= 0.375 * (large - 2 * left)) & (x > 0) & (x < 1)
    return np.where(cloth[..., None], np.rint(moved * shade[:, None]), 255).astype(np.uint8)


def _countries(package: Path) -> list[dict[str, Any]]:
    path = package / "country.json"
    try:
        found = [each for each in json.loads(path.read_text("utf-8")) if each["code"] != UNKNOWN]
        if not found or any(key not in each for each in found for key in FACTS):
            raise ValueError(f"not a list of flags with {', '.join(FACTS)}")
        return sorted(found, key=lambda each: each["code"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None


def make(source: Path, folder: Path, resolution: int) -> None:
    """Read the flags of the package in ``source`` and write a dataset into ``folder``.

    Raises:
        DataError: The package is missing, or has another licence.
        OSError: A file cannot be written.
    """
    package = source / "node_modules" / "flag-icons"
    version = package_facts(package).get("version")
    notice = licence_text(package / "LICENSE", LICENCE)
    countries = _countries(package)
    drawn = [(country, shape) for country in countries for shape in SHAPES]
    images = [
        draw_flag({ratio: package / country[f"flag_{ratio}"] for ratio in ("4x3", "1x1")}, shape, resolution)
        for country, shape in drawn
    ]
    small = np.stack([np.asarray(resize(image, (32, 32))) for image in images])
    pairs = close_pairs(1 - small.reshape(len(small), -1).astype(np.float64) / 255, SIMILAR)
    groups = groups_of([country["code"] for country, _ in drawn], pairs)
    card = {
        "name": f"flags-{resolution}",
        "summary": f"{len(countries)} flags on white, each in four shapes.",
        "resolution": resolution,
        "licence": "MIT",
        "attribution": "flag-icons by Panayiotis Lipiridis and contributors (MIT)",
        "source": f"npm package flag-icons {version}",
        "classes": list(SHAPES),
    }
    samples = (
        Sample(f"{country['code']}-{shape}", image, _texts(country, shape), group)
        for (country, shape), image, group in zip(drawn, images, groups, strict=True)
    )
    heading = f"Images drawn by builders/datasets/make_flags.py from flag-icons {version}. {DESIGNS}"
    write_dataset(folder, card, f"{card['name']}\n\n{heading}\n\n{notice}\n", samples)


def _texts(country: dict[str, Any], shape: str) -> dict[str, str]:
    caption = f"Flag of {country['name']}, {shape}"
    return {"caption": caption, "category": shape, "subcategory": country.get("continent", "none")}


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return run(make, "builders.datasets.make_flags", "Folder with node_modules/flag-icons.", arguments)


if __name__ == "__main__":
    sys.exit(main())
