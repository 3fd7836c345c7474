"""How samples come about: the clean images that are predicted on the way, at every level."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from builders.pictures import BACKGROUND, FAINT, FONT_SIZE, FRAME, GAP, INK, MARGIN, enlarge, fit_text
from builders.pixels import to_pil

__all__ = ["Previews", "preview_sheet"]


class Previews:
    """Keeps what the first samples are predicted to be at some steps of a sampler.

    Args:
        steps: of the sampler.
        samples: how many samples are kept.
        moments: at how many steps, spread evenly, the last one included.
    """

    def __init__(self, steps: int, samples: int = 4, moments: int = 8) -> None:
        moments = min(moments, steps)
        self.samples = samples
        #: Steps that are kept, from 1.
        self.numbers = tuple(-(-steps * (index + 1) // moments) for index in range(moments))
        self.kept: dict[int, list[Tensor]] = {}

    def __call__(self, rows: range, number: int, images: Sequence[Tensor]) -> None:
        """Take the clean images predicted at a step (:data:`builders.sampling.generation.Preview`)."""
        if number not in self.numbers or rows.start >= self.samples:
            return
        shown = [level[: self.samples - rows.start].detach().float().cpu() for level in images]
        before = self.kept.get(number)
        self.kept[number] = shown if before is None else [torch.cat(pair) for pair in zip(before, shown, strict=True)]


def preview_sheet(previews: Previews, captions: Sequence[str], cell: int = 96) -> Image.Image:
    """A picture with a row for each sample and level, lowest resolution first, and a column for each step kept."""
    numbers = [number for number in previews.numbers if number in previews.kept]
    levels = len(previews.kept[numbers[0]])
    count = len(previews.kept[numbers[0]][0])
    font, line = ImageFont.load_default(FONT_SIZE), FONT_SIZE + 5
    across, down = len(numbers) * (cell + GAP) - GAP, levels * (cell + GAP) + line
    picture = Image.new("RGB", (2 * MARGIN + across, 2 * MARGIN + line + count * down), BACKGROUND)
    draw = ImageDraw.Draw(picture)
    for column, number in enumerate(numbers):
        x = MARGIN + column * (cell + GAP)
        draw.text((x, MARGIN - 4), f"step {number}", FAINT, font)
        for row in range(count):
            top = MARGIN + line + row * down
            if column == 0:
                draw.text((x, top), fit_text(captions[row], across, font), INK, font)
            for place, level in enumerate(reversed(previews.kept[number])):
                y = top + line + place * (cell + GAP)
                picture.paste(enlarge(to_pil(level[row]), cell), (x, y))
                draw.rectangle((x - 1, y - 1, x + cell, y + cell), outline=FRAME)
    return picture
