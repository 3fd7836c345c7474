"""Pictures of samples: grids that show every level, the nearest training images, files written whole."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from builders.files import replacing
from builders.pixels import to_pil

__all__ = ["contact_sheet", "enlarge", "fit_text", "sample_grid", "save_image"]

BACKGROUND, FRAME, INK, FAINT = (255, 255, 255), (221, 221, 221), (34, 34, 34), (119, 119, 119)
MARGIN, GAP, FONT_SIZE, BLOCK_GAP = 16, 8, 13, 28


def sample_grid(
    levels: Sequence[Tensor],
    captions: Sequence[str] | None = None,
    nearest: Tensor | None = None,
    nearest_captions: Sequence[str] | None = None,
    *,
    cell: int | None = None,
    columns: int | None = None,
    title: str = "",
) -> Image.Image:
    """A picture in which each sample is a row of its levels, smallest first, and the nearest training image.

    Every level is enlarged to one size by whole pixels, so that what it holds can be seen.

    Args:
        levels: images (B, channels, H_r, W_r) in [-1, 1] by level, highest resolution first.
        captions: one a sample.
        nearest: images (B, channels, height, width) in [-1, 1] to show beside the samples.
        nearest_captions: one for each of those.
        cell: side of an image on the picture; by default that of the highest resolution, and at least 128.
        columns: how many samples stand side by side; by default so that the picture is about square.
        title: a line above all.
    """
    shown = [(f"{images.shape[-1]} px", images) for images in reversed(levels)]
    if nearest is not None:
        shown.append(("nearest in training", nearest))
    count = len(levels[0])
    # A whole multiple of the highest resolution, so that no pixel is wider than another.
    side = levels[0].shape[-1]
    cell = cell or side * max(1, -(-128 // side))
    captions = list(captions or [""] * count)
    texts = nearest_captions or [""] * count
    labels = any(captions) or any(texts)
    font = ImageFont.load_default(FONT_SIZE)
    line = FONT_SIZE + 5
    width = len(shown) * (cell + GAP) - GAP
    height = cell + (line if labels else 0)
    columns = columns or _columns(count, width + BLOCK_GAP, height + GAP)
    rows = -(-count // columns)
    top = MARGIN + line * (1 + bool(title))
    size = (2 * MARGIN + columns * (width + BLOCK_GAP) - BLOCK_GAP, top + rows * (height + GAP) - GAP + MARGIN)
    picture = Image.new("RGB", size, BACKGROUND)
    draw = ImageDraw.Draw(picture)
    draw.text((MARGIN, MARGIN - 4), fit_text(title, size[0] - 2 * MARGIN, font), INK, font)
    for index in range(count):
        # Down the columns: samples of one class stay together.
        column, row = divmod(index, rows)
        left, upper = MARGIN + column * (width + BLOCK_GAP), top + row * (height + GAP)
        for place, (label, images) in enumerate(shown):
            x = left + place * (cell + GAP)
            if row == 0:
                draw.text((x, upper - line), fit_text(label, cell, font), FAINT, font)
            picture.paste(enlarge(to_pil(images[index]), cell), (x, upper))
            draw.rectangle((x - 1, upper - 1, x + cell, upper + cell), outline=FRAME)
        if labels:
            beside = nearest is not None
            room = (len(shown) - beside) * (cell + GAP) - GAP
            draw.text((left, upper + cell + 2), fit_text(captions[index], room, font), INK, font)
            if beside:
                draw.text((left + room + GAP, upper + cell + 2), fit_text(texts[index], cell, font), FAINT, font)
    return picture


def contact_sheet(images: Tensor, columns: int = 10, cell: int = 96) -> Image.Image:
    """Images (N, 3, height, width) uint8 side by side, each enlarged to ``cell`` pixels by whole pixels."""
    side = images.shape[-1]
    cell = side * max(1, -(-cell // side))
    rows = -(-len(images) // columns)
    picture = Image.new("RGB", (columns * (cell + 2) - 2, rows * (cell + 2) - 2), BACKGROUND)
    for index, image in enumerate(images):
        row, column = divmod(index, columns)
        shown = Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())
        picture.paste(enlarge(shown, cell), (column * (cell + 2), row * (cell + 2)))
    return picture


def save_image(image: Image.Image, path: str | Path) -> Path:
    """Write a PNG whole or not at all: under a temporary name beside ``path``, then renamed.

    Raises:
        OSError: the folder cannot be written to.
    """
    with replacing(path) as temporary:
        image.save(temporary, "PNG", optimize=True)
    return Path(path)


def _columns(count: int, width: int, height: int) -> int:
    """The number of columns that brings the picture nearest to a square."""

    def elongation(columns: int) -> float:
        across, down = columns * width, -(-count // columns) * height
        return max(across / down, down / across)

    return min(range(1, max(count, 1) + 1), key=elongation)


def enlarge(image: Image.Image, cell: int) -> Image.Image:
    """The image with ``cell`` pixels a side; by whole pixels where it is smaller."""
    if image.size == (cell, cell):
        return image
    shrinks = image.width > cell
    return image.resize((cell, cell), Image.Resampling.BOX if shrinks else Image.Resampling.NEAREST)


def fit_text(text: str, width: int, font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> str:
    """The text, cut with an ellipsis where it is wider than ``width`` pixels."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text.rstrip() + "..."
