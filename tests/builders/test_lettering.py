"""Captions of any length and script in pictures."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageFont

from builders import lettering
from builders.lettering import draw_line, fit_text, has_glyph
from builders.pictures import sample_grid

FONT = ImageFont.load_default(13)
SCRIPTS = {
    "chinese": ("红色苹果", "蓝色月亮"),
    "arabic": ("تفاحة", "القمر"),
    "hindi": ("नमस्ते", "चंद्रमा"),
    "emoji": ("🍎", "🌙"),
    "family": ("👨‍👩‍👧", "👨‍👩‍👦"),
    "accents": ("éàü", "ñøå"),
    "hebrew": ("שלום", "ירח"),
}


def drawn(text: str) -> np.ndarray:
    return np.asarray(sample_grid([torch.zeros(1, 3, 8, 8)], [text], cell=500))


@pytest.mark.parametrize(
    "text", ["word " * 200_000, "a" * 10**6, "\u0301" * 10**6, "你" * 10**6, " " * 10**6 + "x" * 999]
)
def test_a_text_of_any_length_is_measured_a_few_times(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = []
    honest = lettering._length
    monkeypatch.setattr(lettering, "_length", lambda line, font: measured.append(len(line)) or honest(line, font))
    shown = fit_text(text, 400, FONT)
    assert shown.endswith("...") and honest(shown, FONT) <= 400
    assert len(measured) < 15 and max(measured) < 10_000


def test_short_texts_are_unchanged_and_long_ones_fill_the_line() -> None:
    assert fit_text("a red apple", 400, FONT) == "a red apple" and fit_text("", 400, FONT) == ""
    for width in (5, 40, 123, 400):
        shown = fit_text("x" * 300, width, FONT)
        assert FONT.getlength(shown) <= width or shown == "..."
        assert FONT.getlength("x" + shown) > width


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("fonts", ["all", "none"])
def test_different_captions_look_different(script: str, fonts: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the system's fonts, and on a system without any, where letters are escaped."""
    if fonts == "none":
        monkeypatch.setattr(lettering, "_other_font", lambda cluster, size: None)
    one, other = (drawn(text) for text in SCRIPTS[script])
    assert one.shape == other.shape and (one != other).any()
    for text in SCRIPTS[script]:
        for letter in fit_text(text, 500, FONT):
            assert has_glyph(FONT, letter) or lettering._font_for(letter, FONT) is not None


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb\r\n\tc\u2028d", "a b c d"),
        ("\x1b[31mred\x00", r"\x1b[31mred\x00"),
        ("a\u202eb", r"a\u202eb"),
        ("\ud800", r"\ud800"),
        ("\ue000\U0010ffff", r"\ue000\U0010ffff"),
        ("cafe\u0301", "café"),
    ],
)
def test_characters_that_are_not_letters(text: str, shown: str) -> None:
    assert fit_text(text, 400, FONT) == shown
    drawn(text)


def test_letters_without_a_font_are_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lettering, "_other_font", lambda cluster, size: None)
    assert fit_text("一 a é 🍎", 400, FONT) == r"\u4e00 a \xe9 \U0001f34e"


def test_a_font_of_the_system_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    lettering._other_font.cache_clear()
    other = lettering._other_font("ж", 13)
    assert other is not None and has_glyph(other, "ж") and not has_glyph(FONT, "ж")
    assert fit_text("жжж", 400, FONT) == "жжж"
    # Without fontconfig, matplotlib finds the fonts; a damaged one is skipped.
    monkeypatch.setattr(lettering.shutil, "which", lambda name: None)
    monkeypatch.setattr("matplotlib.font_manager.findSystemFonts", lambda: ["/nosuch.ttf"])
    assert lettering._system_fonts() == ["/nosuch.ttf"] and lettering._open("/nosuch.ttf", 13) is None


def test_marks_stay_in_their_line() -> None:
    picture = Image.new("RGB", (200, 60), "white")
    shown = fit_text("Z" + "\u0301" * 500 + "\u0323" * 500, 150, FONT)
    draw_line(picture, 5, 20, shown, "black", FONT, 18)
    pixels = np.asarray(picture)
    assert (pixels[:20] == 255).all() and (pixels[38:] == 255).all() and (pixels[20:38] != 255).any()


def test_a_bitmap_font_has_ascii_only() -> None:
    bitmap = ImageFont.load_default_imagefont()
    picture = Image.new("RGB", (300, 40), "white")
    shown = fit_text("é 一 x", 280, bitmap)
    assert shown == r"\xe9 \u4e00 x"
    draw_line(picture, 0, 0, shown, "black", bitmap, 18)
