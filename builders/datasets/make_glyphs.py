"""Make a dataset of letters and digits from fonts under the SIL Open Font License.

    mkdir fonts && cp builders/datasets/glyphs-64/package.json fonts
    npm install --prefix fonts --ignore-scripts
    python -m builders.datasets.make_glyphs fonts FOLDER --resolution 64

SOURCE is a folder with a ``package.json`` that names packages ``@fontsource/NAME``, installed in its ``node_modules``.
Each font gives up to four styles: light, regular, the heaviest weight, and italic. A sample is one of 36 characters in
black on white. Its class is the character. Variants of one character in one font family, and characters that look
almost the same, are in one split. With one version of Pillow, which contains FreeType and WebP, the same fonts give the
same bytes.
"""

from __future__ import annotations

import json
import string
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from builders.data.errors import DataError
from builders.datasets.command import run
from builders.datasets.licences import licence_text, package_facts
from builders.datasets.near_duplicates import close_pairs, groups_of
from builders.datasets.samples import Sample, write_dataset
from builders.files import write_text
from builders.resizing import resize

__all__ = ["CHARACTERS", "Font", "draw_glyph", "find_fonts", "main", "make"]

#: Digits first, so that the index of a digit's class is the digit.
CHARACTERS = string.digits + string.ascii_uppercase
SCOPE = "@fontsource/"
LICENCE = "SIL Open Font License Version 1.1"
#: Two glyphs are near-duplicates if their distance at 32 pixels is less than this share of the fainter one's distance
#: from white.
SIMILAR = 0.25
#: Hairlines of lighter weights are lost at 32 pixels.
LIGHTEST = 300
WEIGHTS = {
    300: "light",
    400: "regular",
    500: "medium",
    600: "semibold",
    700: "bold",
    800: "extrabold",
    900: "black",
}
#: Height of a capital letter, and the largest extent of a glyph, as shares of the side.
CAPITAL, EXTENT = 0.62, 0.84
#: Glyphs are drawn this many times as large, and reduced by exact averages.
OVERSAMPLING = 8
#: A code point for private use, which these fonts draw as a missing character.
MISSING = "\ue000"
SCALE = 1000
HEADING = """\
Images of glyphs, drawn by builders/datasets/make_glyphs.py with the fonts below. Their licence does not extend to
documents created with them. No font is part of this dataset."""


@dataclass(frozen=True, slots=True)
class Font:
    """One style of a font family.

    Attributes:
        family: Identifier of the family, such as ``eb-garamond``.
        title: Its name, such as ``EB Garamond``.
        category: Kind of the family: serif, sans-serif, display, handwriting or monospace.
        weight: Weight, 300 to 900.
        italic: Whether it is the italic one.
        path: The file.
    """

    family: str
    title: str
    category: str
    weight: int
    italic: bool
    path: Path

    @property
    def style(self) -> str:
        """Weight and slope as they are called, such as ``bold`` or ``regular italic``."""
        name = WEIGHTS.get(self.weight, str(self.weight))
        return f"{name} italic" if self.italic else name


def find_fonts(source: Path) -> tuple[list[Font], str]:
    """Return the styles of the installed fonts, and the notice of their copyrights and licence.

    Args:
        source: Folder with a ``package.json`` and ``node_modules``.

    Raises:
        DataError: A package is missing, has another version or another licence.
    """
    found = package_facts(source).get("dependencies")
    wanted = {name: str(version) for name, version in found.items()} if isinstance(found, dict) else {}
    names = sorted(name for name in wanted if name.startswith(SCOPE))
    if not names:
        raise DataError(f"{source / 'package.json'}: no dependencies {SCOPE}NAME, such as {SCOPE}lora")
    fonts: list[Font] = []
    copyrights: list[str] = []
    body = ""
    for name in names:
        folder = source / "node_modules" / name
        version = str(package_facts(folder).get("version"))
        if wanted[name][:1].isdigit() and wanted[name] != version:
            raise DataError(f"{folder}: version {version}, but package.json names {wanted[name]}; npm install")
        text = licence_text(folder / "LICENSE", LICENCE)
        owner, _, rest = text.partition("This Font Software is licensed")
        copyrights.append(f"{name} {version}: {' '.join(owner.split())}")
        body = body or "This Font Software is licensed" + rest
        fonts += _styles(folder)
    return fonts, "\n\n".join([*copyrights, body]) + "\n"


def _styles(folder: Path) -> Iterator[Font]:
    facts = package_facts(folder, "metadata.json")
    if missing := [name for name in ("id", "family", "category", "weights", "styles") if not facts.get(name)]:
        raise DataError(f"{folder / 'metadata.json'}: lacks {', '.join(missing)}")
    weights = sorted(weight for weight in facts["weights"] if weight >= LIGHTEST) or [max(facts["weights"])]
    regular = min(weights, key=lambda weight: abs(weight - 400))
    chosen = [(weight, False) for weight in sorted({weights[0], regular, weights[-1]})]
    if "italic" in facts["styles"]:
        chosen.append((regular, True))
    for weight, italic in chosen:
        path = folder / "files" / f"{facts['id']}-latin-{weight}-{'italic' if italic else 'normal'}.woff"
        if not path.is_file():
            raise DataError(f"{path}: no such file")
        yield Font(facts["id"], facts["family"], facts["category"], weight, italic, path)


def draw_glyph(path: Path, character: str, side: int) -> Image.Image:
    """Draw a character in black on white, in the middle of a square; capital letters have one height in all fonts.

    Args:
        path: Font file.
        character: The character.
        side: Side of the image in pixels.

    Raises:
        DataError: The font cannot be read or lacks the character.
    """
    large = side * OVERSAMPLING
    try:
        _, top, _, bottom = _open(path, SCALE).getbbox("H")
        box = _open(path, SCALE).getbbox(character)
        missing = _open(path, SCALE).getmask(MISSING)
        drawn = _open(path, SCALE).getmask(character)
    except OSError as error:
        raise DataError(f"{path}: cannot be read as a font: {error}") from None
    if bottom <= top or not any(drawn) or (drawn.size == missing.size and bytes(drawn) == bytes(missing)):
        raise DataError(f"{path}: the font has no character {character!r}")
    widest = max(box[2] - box[0], box[3] - box[1])
    font = _open(path, min(CAPITAL * large / (bottom - top), EXTENT * large / widest) * SCALE)
    left, top, right, bottom = font.getbbox(character)
    image = Image.new("L", (large, large), 255)
    corner = ((large - (right - left)) / 2 - left, (large - (bottom - top)) / 2 - top)
    ImageDraw.Draw(image).text(corner, character, 0, font=font)
    return resize(image.convert("RGB"), (side, side))


def _open(path: Path, size: float) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)


def make(source: Path, folder: Path, resolution: int) -> None:
    """Read the fonts of ``source`` and write a dataset into ``folder``.

    Raises:
        DataError: A font cannot be used.
        OSError: A file cannot be written.
    """
    fonts, notice = find_fonts(source)
    drawn = [(font, character) for font in fonts for character in CHARACTERS]
    images = [draw_glyph(font.path, character, resolution) for font, character in drawn]
    small = np.stack([np.asarray(resize(image, (32, 32)))[:, :, 0] for image in images])
    pairs = close_pairs(1 - small.reshape(len(small), -1).astype(np.float64) / 255, SIMILAR)
    groups = groups_of([f"{character.lower()}-{font.family}" for font, character in drawn], pairs)
    families = len({font.family for font in fonts})
    card = {
        "name": f"glyphs-{resolution}",
        "summary": f"Digits and capital letters of {families} font families, black on white.",
        "resolution": resolution,
        "licence": "OFL-1.1",
        "attribution": f"{families} font families under the SIL Open Font License 1.1; their authors are in NOTICE",
        "source": "npm packages @fontsource/NAME, named with their versions in package.json",
        "classes": list(CHARACTERS),
    }
    samples = (
        Sample(_key(font, character), image, _texts(font, character), group)
        for (font, character), image, group in zip(drawn, images, groups, strict=True)
    )
    write_dataset(folder, card, f"{card['name']}\n\n{HEADING}\n\n{notice}", samples)
    _write_versions(source, folder)


def _write_versions(source: Path, folder: Path) -> None:
    """Write a ``package.json`` that names the versions which were used."""
    facts = package_facts(source)
    modules = source / "node_modules"
    exact = {name: package_facts(modules / name)["version"] for name in facts["dependencies"] if name.startswith(SCOPE)}
    write_text(folder / "package.json", json.dumps(facts | {"dependencies": exact}, indent=2) + "\n")


def _key(font: Font, character: str) -> str:
    return f"{character.lower()}-{font.family}-{font.weight}{'-italic' * font.italic}"


def _texts(font: Font, character: str) -> dict[str, str]:
    kind = "Digit" if character.isdigit() else "Letter"
    caption = f"{kind} {character}, {font.category}, {font.style}"
    return {"caption": caption, "category": character, "subcategory": font.title}


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return run(make, "builders.datasets.make_glyphs", "Folder with package.json and node_modules.", arguments)


if __name__ == "__main__":
    sys.exit(main())
