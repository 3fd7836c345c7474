"""Pictures of samples: grids that show every level, contact sheets, and PNG files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from builders.files import replacing
from builders.lettering import draw_line, fit_text
from builders.pixels import to_pil
from builders.resizing import resize

__all__ = ["Canvas", "contact_sheet", "sample_grid", "save_image"]

BACKGROUND, FRAME, INK, FAINT = (255, 255, 255), (221, 221, 221), (34, 34, 34), (119, 119, 119)
MARGIN, GAP, FONT_SIZE, BLOCK_GAP = 16, 8, 13, 28
#: Height of a line of text in pixels.
LINE = FONT_SIZE + 5


class Canvas:
    """An empty picture to put images and lines of text on.

    Args:
        width: Width in pixels.
        height: Height in pixels.
    """

    def __init__(self, width: int, height: int) -> None:
        self.picture = Image.new("RGB", (width, height), BACKGROUND)
        self.draw = ImageDraw.Draw(self.picture)
        self.font = ImageFont.load_default(FONT_SIZE)

    def text(self, x: int, y: int, text: str, width: int, color: tuple[int, int, int] = INK) -> None:
        """Write a line of text, cut with an ellipsis to ``width`` pixels; see :func:`builders.lettering.fit_text`."""
        draw_line(self.picture, x, y, fit_text(text, width, self.font), color, self.font, LINE)

    def image(self, x: int, y: int, image: Tensor, cell: int) -> None:
        """Put an image (channels, height, width) in [-1, 1] on a framed square of ``cell`` pixels."""
        shown = to_pil(image)
        if shown.size != (cell, cell):
            # Smaller images keep sharp pixels.
            large, size = shown.width > cell, (cell, cell)
            shown = resize(shown, size) if large else shown.resize(size, Image.Resampling.NEAREST)
        self.picture.paste(shown, (x, y))
        self.draw.rectangle((x - 1, y - 1, x + cell, y + cell), outline=FRAME)


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
    """Show each sample as a row of its levels, lowest resolution first, and the nearest training image.

    Args:
        levels: Images (samples, channels, height, width) in [-1, 1] by level, highest resolution first.
        captions: Caption of each sample.
        nearest: Images (samples, channels, height, width) in [-1, 1] to show beside the samples.
        nearest_captions: Caption of each of these images.
        cell: Side of an image in the picture, in pixels. Default: a multiple of the highest resolution, at least 128.
        columns: Number of samples side by side. Default: the number that makes the picture about square.
        title: Line at the top.
    """
    shown = [(f"{images.shape[-1]} px", images) for images in reversed(levels)]
    if nearest is not None:
        shown.append(("nearest in training", nearest))
    count, side = len(levels[0]), levels[0].shape[-1]
    cell = cell or side * max(1, -(-128 // side))
    captions, nearest_captions = captions or [""] * count, nearest_captions or [""] * count
    captioned = any(captions) or any(nearest_captions)
    width = len(shown) * (cell + GAP) - GAP
    height = cell + (LINE if captioned else 0)
    columns = columns or _columns(count, width + BLOCK_GAP, height + GAP)
    rows = -(-count // columns)
    top = MARGIN + (2 * LINE if title else LINE)
    across = columns * (width + BLOCK_GAP) - BLOCK_GAP
    canvas = Canvas(2 * MARGIN + across, top + rows * (height + GAP) - GAP + MARGIN)
    canvas.text(MARGIN, MARGIN - 4, title, across)
    for index in range(count):
        # Down the columns, so that samples of one class stay together.
        column, row = divmod(index, rows)
        x, y = MARGIN + column * (width + BLOCK_GAP), top + row * (height + GAP)
        for place, (label, images) in enumerate(shown):
            left = x + place * (cell + GAP)
            if row == 0:
                canvas.text(left, y - LINE, label, cell, FAINT)
            canvas.image(left, y, images[index], cell)
        if captioned:
            canvas.text(x, y + cell + 2, captions[index], len(levels) * (cell + GAP) - GAP)
        if captioned and nearest is not None:
            canvas.text(x + width - cell, y + cell + 2, nearest_captions[index], cell, FAINT)
    return canvas.picture


def _columns(count: int, width: int, height: int) -> int:
    """Return the number of columns that makes a picture of ``count`` cells closest to a square."""

    def elongation(columns: int) -> float:
        across, down = columns * width, -(-count // columns) * height
        return max(across / down, down / across)

    return min(range(1, max(count, 1) + 1), key=elongation)


def contact_sheet(images: Tensor, columns: int = 10, cell: int = 96) -> Image.Image:
    """Show images side by side.

    Args:
        images: Images (samples, 3, height, width) uint8.
        columns: Number of images side by side.
        cell: Least side of an image in the picture, in pixels; images are enlarged by whole numbers.
    """
    from torchvision.utils import make_grid  # takes a second to import

    scale = max(1, -(-cell // images.shape[-1]))
    enlarged = images.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    grid = make_grid(enlarged, nrow=columns, padding=2, pad_value=255)
    return Image.fromarray(grid.permute(1, 2, 0).contiguous().numpy())


def save_image(image: Image.Image, path: str | Path) -> Path:
    """Save a PNG, replacing the whole file or nothing.

    Raises:
        OSError: The file cannot be written.
    """
    with replacing(path) as temporary:
        image.save(temporary, "PNG", optimize=True)
    return Path(path)
