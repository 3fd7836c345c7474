"""Grids of samples: a contact sheet, and for clips an animation, each sample beside the nearest of the training set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL.Image import Image
from torch import Tensor

from builders.files import replacing
from builders.pictures import SHOWN_FRAMES, animated_grid, sample_grid, save_image
from builders.pixels import to_float
from builders.sampling.clip_files import FRAME_RATE
from builders.sampling.nearest import nearest_to_levels
from builders.video.webp import encode_webp

__all__ = ["Grid", "grid_of_samples"]

#: Largest number of samples in an animation, and of its bytes in memory.
ANIMATED, ANIMATED_BYTES = 40, 2**28
#: Pixels of an image in an animation, with what is around it.
CELL = 136 * 154


@dataclass(frozen=True, eq=False)
class Grid:
    """A picture of samples.

    Attributes:
        sheet: Contact sheet: a row per sample, with some frames of its clips.
        animation: Frames (frames, height, width, 3) uint8 of the same samples, whose clips play; None for images.
    """

    sheet: Image
    animation: np.ndarray | None = None

    def save(self, path: Path, frame_rate: float = FRAME_RATE) -> list[Path]:
        """Write the sheet as PNG, and the animation as WebP beside it; return their paths.

        Args:
            path: PNG file.
            frame_rate: Frames a second of the animation.

        Raises:
            OSError: A file cannot be written.
        """
        if self.animation is None:
            return [save_image(self.sheet, path)]
        animated = path.with_suffix(".webp")
        data = encode_webp(self.animation, frame_rate, lossless=False)
        with replacing(animated) as temporary:  # first, because the sheet says that both are there
            temporary.write_bytes(data)
        return [save_image(self.sheet, path), animated]


def grid_of_samples(
    levels: Sequence[Tensor],
    captions: Sequence[str],
    training: tuple[Tensor, Sequence[str]] | None = None,
    *,
    title: str = "",
    frames: int | None = SHOWN_FRAMES,
) -> Grid:
    """Show samples at every level, and the nearest of the training set beside each.

    Args:
        levels: Samples (samples, channels, height, width), or clips (samples, channels, frames, height, width), in
            [-1, 1] by level, outermost first.
        captions: Caption of each sample.
        training: Images or clips of the training set, uint8, of the outermost level's size, and their captions.
        title: Line at the top.
        frames: Number of frames of each clip in the contact sheet; None for all.
    """
    nearest, texts = None, None
    if training is not None:
        indices = nearest_to_levels(levels, training[0])
        nearest, texts = to_float(training[0][indices]), [training[1][index] for index in indices.tolist()]
    sheet = sample_grid(levels, captions, nearest, texts, title=title, frames=frames)
    count = _animated(levels, nearest is not None)
    if count == 0:
        return Grid(sheet)
    few = [level[:count] for level in levels]
    near = None if nearest is None else nearest[:count]
    return Grid(sheet, animated_grid(few, captions[:count], near, texts and texts[:count], title=title))


def _animated(levels: Sequence[Tensor], nearest: bool) -> int:
    """Return the number of samples in the animation: 0 for images, and for clips that are too long for one."""
    frames = max((level.shape[2] for level in levels if level.dim() == 5), default=0)
    if frames == 0:
        return 0
    return min(ANIMATED, len(levels[0]), ANIMATED_BYTES // (3 * frames * CELL * (len(levels) + nearest)))
