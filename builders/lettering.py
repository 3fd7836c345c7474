"""Lines of text in pictures: cut to a width, in fonts that have the letters, escaped where no font has them."""

from __future__ import annotations

import shutil
import subprocess
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont, features

__all__ = ["draw_line", "fit_text", "has_glyph"]

ELLIPSIS = "..."
#: A letter is at least this wide in pixels, so that a text can be cut before it is measured.
NARROWEST = 2
#: Combining marks per letter; more are cut, because they would be drawn over each other.
MARKS = 2
#: Categories of Unicode that are never drawn: control characters, surrogates, private and unassigned characters.
HIDDEN = frozenset({"Cc", "Cs", "Co", "Cn"})
#: Characters that join or separate letters or choose their form; drawn with a letter of a font that has them.
JOINERS = frozenset("\u200c\u200d\ufe0e\ufe0f")


def fit_text(text: str, width: float, font: Any) -> str:
    """Return a text as one line that can be drawn, cut with an ellipsis to a width.

    Line breaks become spaces. Control characters, and letters that no font on this system has, are escaped as in
    Python: ``\\u4f60``.

    Args:
        text: Text of any length.
        width: Width in pixels.
        font: Font to draw with, such as ``ImageFont.load_default(13)``.
    """
    most = max(1, int(width / NARROWEST)) + 1
    text = text.strip()
    cut = text[: (MARKS + 2) * most]
    shown = [_readable(cluster, font) for cluster in _clusters(" ".join(cut.split()))]
    if len(cut) == len(text) and _length("".join(shown), font) <= width:
        return "".join(shown)
    fits, long = 0, min(len(shown), most)
    while fits < long:
        middle = (fits + long + 1) // 2
        if _length("".join(shown[:middle]) + ELLIPSIS, font) <= width:
            fits = middle
        else:
            long = middle - 1
    return "".join(shown[:fits]).rstrip() + ELLIPSIS


def draw_line(picture: Image.Image, x: int, y: int, text: str, color: Any, font: Any, height: int) -> None:
    """Draw the result of :func:`fit_text`; nothing is drawn above or below the line.

    Args:
        picture: Picture to draw on.
        x: Left edge in pixels.
        y: Upper edge in pixels.
        text: Text to draw.
        color: Color of the text.
        font: Font to draw with where it has the letters.
        height: Height of the line in pixels.
    """
    if not isinstance(font, ImageFont.FreeTypeFont):
        ImageDraw.Draw(picture).text((x, y), text, color, font)
        return
    width = int(_length(text, font)) + height
    line = picture.crop((x, y, x + width, y + height))
    draw, place = ImageDraw.Draw(line), 0.0
    for run, chosen in _runs(text, font):
        draw.text((place, font.getmetrics()[0]), run, color, chosen, anchor="ls")
        place += chosen.getlength(run)
    picture.paste(line, (x, y))


def has_glyph(font: Any, text: str) -> bool:
    """Return whether a font has a glyph for every character of a text."""
    if not isinstance(font, ImageFont.FreeTypeFont):  # the bitmap font of a Pillow without FreeType
        return text.isascii()
    return all(_has_glyph(font, character) for character in text)


@lru_cache(maxsize=10_000)
def _has_glyph(font: ImageFont.FreeTypeFont, character: str) -> bool:
    return character.isspace() or _bitmap(font, character) != _bitmap(font, "\U0010ffff")


def _bitmap(font: ImageFont.FreeTypeFont, character: str) -> tuple[Any, bytes]:
    """Return size and pixels of a character; those of a missing one are equal to those of any other missing one."""
    mask = font.getmask(character)
    return mask.size, bytes(mask)


def _clusters(text: str) -> Iterator[str]:
    """Yield the letters of a text, each with the combining marks and joiners after it."""
    cluster, marks = "", 0
    for character in unicodedata.normalize("NFC", text):
        mark = character in JOINERS or unicodedata.category(character) in ("Mn", "Mc", "Me")
        if not cluster or not mark:
            if cluster:
                yield cluster
            cluster, marks = character, 0
        elif marks < MARKS:
            cluster, marks = cluster + character, marks + 1
    if cluster:
        yield cluster


def _readable(cluster: str, font: Any) -> str:
    """Return a letter, or its escape if it is a hidden character or no font has it."""
    if not any(_is_hidden(character) for character in cluster):
        if _font_for(cluster, font) is not None:
            return cluster
        if _font_for(cluster[0], font) is not None:
            return cluster[0] + "".join(_escape(mark) for mark in cluster[1:])
    return "".join(_escape(character) for character in cluster)


def _is_hidden(character: str) -> bool:
    category = unicodedata.category(character)
    return category in HIDDEN or (category == "Cf" and character not in JOINERS)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()


def _length(text: str, font: Any) -> float:
    return sum(float(chosen.getlength(run)) for run, chosen in _runs(text, font))


def _runs(text: str, font: Any) -> Iterator[tuple[str, Any]]:
    """Yield the parts of a line with the font of each."""
    run, current = "", font
    for cluster in _clusters(text):
        chosen = current if cluster == " " and run else _font_for(cluster, font) or font
        if run and chosen is not current:
            yield run, current
            run = ""
        run, current = run + cluster, chosen
    if run:
        yield run, current


def _font_for(cluster: str, font: Any) -> Any:
    """Return the font if it has all characters of a letter, or another font that has them, or None."""
    if has_glyph(font, cluster):
        return font
    return _other_font(cluster, font.size) if isinstance(font, ImageFont.FreeTypeFont) else None


@lru_cache(maxsize=10_000)
def _other_font(cluster: str, size: float) -> ImageFont.FreeTypeFont | None:
    """Return a font of the system that has all characters of a letter."""
    if not features.check("raqm") and any(unicodedata.bidirectional(each) in ("R", "AL") for each in cluster):
        return None  # the letters would be drawn in the wrong order
    # A font is searched once for 128 characters: most scripts have one font.
    block = ord(cluster[0]) >> 7
    for path in (*_known.get(block, ()), *(() if _searched.get(block, 0) > 1 else _fonts())):
        found = _open(path, size)
        if found is not None and has_glyph(found, cluster):
            _known.setdefault(block, {})[path] = None
            return found
    _searched[block] = _searched.get(block, 0) + 1
    return None


#: Fonts that have letters of a block of 128 characters, and how many searches for one found none.
_known: dict[int, dict[str, None]] = {}
_searched: dict[int, int] = {}


@lru_cache(maxsize=256)
def _open(path: str, size: float) -> ImageFont.FreeTypeFont | None:
    try:
        return ImageFont.truetype(path, size)
    except (OSError, ValueError):  # damaged, or with bitmaps of other sizes only
        return None


@lru_cache(maxsize=1)
def _fonts() -> tuple[str, ...]:
    """Return the files of fonts: that of matplotlib, then those of the system, regular ones first."""
    spec = find_spec("matplotlib")
    folders = [Path(place) for place in (spec.submodule_search_locations if spec is not None else None) or ()]
    bundled = [str(folder / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf") for folder in folders]
    found = {path for path in _system_fonts() if path.lower().endswith((".ttf", ".otf", ".ttc"))}

    def order(path: str) -> tuple[int, str]:
        name = Path(path).stem.lower()
        return sum(word in name for word in ("bold", "italic", "oblique", "mono", "condensed", "narrow", "light")), path

    return (*bundled, *sorted(found, key=order))


def _system_fonts() -> list[str]:
    """Return the files of the system's fonts, from fontconfig or else from matplotlib."""
    command = shutil.which("fc-list")
    if command is not None:
        try:
            listed = subprocess.run([command, "--format=%{file}\\n"], capture_output=True, timeout=10, check=True)
            return listed.stdout.decode(errors="replace").splitlines()
        except (OSError, subprocess.SubprocessError):
            pass
    from matplotlib.font_manager import findSystemFonts

    return list(findSystemFonts())
