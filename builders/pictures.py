"""Pictures of samples: grids that show every level, still or animated, contact sheets, and PNG files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from builders.files import replacing
from builders.lettering import draw_line, fit_text
from builders.pixels import to_pil
from builders.resizing import resize

__all__ = ["SHOWN_FRAMES", "Canvas", "animated_grid", "contact_sheet", "sample_grid", "save_image", "spread"]

BACKGROUND, FRAME, INK, FAINT = (255, 255, 255), (221, 221, 221), (34, 34, 34), (119, 119, 119)
MARGIN, GAP, FONT_SIZE, BLOCK_GAP = 16, 8, 13, 28
#: Height of a line of text in pixels.
LINE = FONT_SIZE + 5
#: Space between the frames of a clip in pixels.
FRAME_GAP = 3
#: Number of frames of a clip that are shown side by side, by default.
SHOWN_FRAMES = 8
#: Least side of a frame in a grid of clips, and least side of an image in any other, in pixels.
FRAME_SIDE, IMAGE_SIDE = 64, 128


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


@dataclass(frozen=True)
class _Strip:
    """An image of each sample, or frames of its clip side by side, under a label."""

    label: str
    #: Images (samples, channels, height, width) in [-1, 1] by frame.
    pictures: tuple[Tensor, ...]

    def width(self, cell: int) -> int:
        return len(self.pictures) * (cell + FRAME_GAP) - FRAME_GAP


def sample_grid(
    levels: Sequence[Tensor],
    captions: Sequence[str] | None = None,
    nearest: Tensor | None = None,
    nearest_captions: Sequence[str] | None = None,
    *,
    cell: int | None = None,
    columns: int | None = None,
    title: str = "",
    frames: int | None = SHOWN_FRAMES,
) -> Image.Image:
    """Show each sample as a row of its levels, innermost first, and the nearest training image or clip.

    Args:
        levels: Images (samples, channels, height, width) or clips (samples, channels, frames, height, width) in
            [-1, 1] by level, outermost first.
        captions: Caption of each sample.
        nearest: Images or clips in [-1, 1] to show beside the samples.
        nearest_captions: Caption of each of these.
        cell: Side of an image in the picture, in pixels. Default: a multiple of the highest resolution, at least 128;
            for clips at least 64 and at most 128.
        columns: Number of samples side by side. Default: the number that makes the picture about square; 1 for clips.
        title: Line at the top.
        frames: Number of frames of each clip to show, evenly spaced, the first and the last included. None for all.
    """
    clips = any(level.dim() == 5 for level in levels)
    strips = [_strip(level, frames) for level in reversed(levels)]
    if nearest is not None:
        strips.append(_Strip("nearest in training", _strip(nearest, frames).pictures))
    cell = cell or _cell(levels[0].shape[-1], clips)
    columns = columns or (1 if clips else None)
    return _draw_grid(strips, len(levels), captions, nearest_captions, cell, columns, title)


def animated_grid(
    levels: Sequence[Tensor],
    captions: Sequence[str] | None = None,
    nearest: Tensor | None = None,
    nearest_captions: Sequence[str] | None = None,
    *,
    title: str = "",
) -> np.ndarray:
    """Show each sample as a row of its levels, innermost first, all of whose clips play at the same time.

    A level of fewer frames shows each of them longer.

    Args:
        levels: Images (samples, channels, height, width) or clips (samples, channels, frames, height, width) in
            [-1, 1] by level, outermost first.
        captions: Caption of each sample.
        nearest: Images or clips in [-1, 1] to show beside the samples.
        nearest_captions: Caption of each of these.
        title: Line at the top.

    Returns:
        Frames (frames, height, width, 3) uint8, as many as the longest clip has.
    """
    named = [(_name(level), level) for level in reversed(levels)]
    if nearest is not None:
        named.append(("nearest in training", nearest))
    total = max(_frames(level) for _, level in named)
    cell = min(_cell(levels[0].shape[-1], False), IMAGE_SIDE)
    pictures = []
    for moment in range(total):
        strips = [_Strip(name, (_frame(level, moment * _frames(level) // total),)) for name, level in named]
        pictures.append(_draw_grid(strips, len(levels), captions, nearest_captions, cell, None, title))
    return np.stack([np.asarray(picture) for picture in pictures])


def spread(total: int, count: int | None) -> list[int]:
    """Return the indices of ``count`` of ``total`` frames, evenly spaced, with the first and the last one.

    Args:
        total: Number of frames.
        count: Number of frames to choose; None for all.
    """
    if count is None or count >= total:
        return list(range(total))
    if count == 1:
        return [0]
    return [(2 * index * (total - 1) + count - 1) // (2 * (count - 1)) for index in range(count)]


def _frames(images: Tensor) -> int:
    return images.shape[2] if images.dim() == 5 else 1


def _frame(images: Tensor, index: int) -> Tensor:
    """Return a frame of clips, or the images."""
    return images[:, :, index] if images.dim() == 5 else images


def _name(images: Tensor) -> str:
    return f"{images.shape[-1]} px" + (f", {images.shape[2]} frames" if images.dim() == 5 else "")


def _strip(images: Tensor, count: int | None) -> _Strip:
    shown = spread(_frames(images), count)
    label = _name(images)
    if len(shown) < _frames(images):
        numbers = ", ".join(str(index + 1) for index in shown)
        label = f"{images.shape[-1]} px, frames {numbers} of {_frames(images)}"
    return _Strip(label, tuple(_frame(images, index) for index in shown))


def _cell(side: int, clips: bool) -> int:
    """Return the side of an image in a grid: a multiple of its own, that of a clip at most 128 pixels."""
    least = FRAME_SIDE if clips else IMAGE_SIDE
    cell = side * max(1, -(-least // side))
    return min(cell, IMAGE_SIDE) if clips else cell


def _draw_grid(
    strips: Sequence[_Strip],
    levels: int,
    captions: Sequence[str] | None,
    nearest_captions: Sequence[str] | None,
    cell: int,
    columns: int | None,
    title: str,
) -> Image.Image:
    """Draw a grid of samples, the first ``levels`` strips of each above its caption."""
    count = len(strips[0].pictures[0])
    captions, nearest_captions = captions or [""] * count, nearest_captions or [""] * count
    captioned = any(captions) or any(nearest_captions)
    widths = [strip.width(cell) for strip in strips]
    gap = 2 * GAP if any(len(strip.pictures) > 1 for strip in strips) else GAP
    lefts = [sum(widths[:place]) + place * gap for place in range(len(strips))]
    width = lefts[-1] + widths[-1]
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
        for strip, left, wide in zip(strips, lefts, widths, strict=True):
            if row == 0:
                canvas.text(x + left, y - LINE, strip.label, wide, FAINT)
            for place, images in enumerate(strip.pictures):
                canvas.image(x + left + place * (cell + FRAME_GAP), y, images[index], cell)
        if captioned:
            canvas.text(x, y + cell + 2, captions[index], lefts[levels - 1] + widths[levels - 1])
        if captioned and len(strips) > levels:
            canvas.text(x + lefts[-1], y + cell + 2, nearest_captions[index], widths[-1], FAINT)
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
        image.save(temporary, "PNG")  # optimize=True: 1 % smaller, and ten times slower
    return Path(path)
