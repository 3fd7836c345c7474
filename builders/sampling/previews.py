"""Previews: the clean images that are predicted during sampling, at every level."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor

from builders.pictures import FAINT, GAP, LINE, MARGIN, Canvas, spread

__all__ = ["Previews", "preview_sheet"]

#: Number of frames of a clip that are kept: the first, the middle and the last.
FRAMES = 3


class Previews:
    """Collects the predicted images of the first samples at some steps of a sampler; of clips, three frames.

    Args:
        steps: Number of steps of the sampler.
        samples: Number of samples to keep.
        moments: Number of steps to keep, evenly spaced, the last one included.
    """

    def __init__(self, steps: int, samples: int = 4, moments: int = 8) -> None:
        moments = min(moments, steps)
        self.samples = samples
        #: Steps to keep, counted from 1.
        self.numbers = tuple(-(-steps * (index + 1) // moments) for index in range(moments))
        #: Images (samples, channels, height, width) by step, outermost level first; frames of a clip as levels.
        self.images: dict[int, list[Tensor]] = {}

    def __call__(self, rows: range, number: int, images: Sequence[Tensor]) -> None:
        """Keep the clean images predicted at a step; a :data:`builders.sampling.generation.Preview`."""
        if number not in self.numbers or rows.start >= self.samples:
            return
        kept = [level[: self.samples - rows.start].detach().float().cpu() for level in images]
        shown = [picture for level in kept for picture in _pictures(level)]
        before = self.images.get(number)
        self.images[number] = shown if before is None else [torch.cat(pair) for pair in zip(before, shown, strict=True)]


def _pictures(level: Tensor) -> list[Tensor]:
    """Return the images of a level, or some frames of its clips, the last one first."""
    if level.dim() == 4:
        return [level]
    return [level[:, :, index].clone() for index in reversed(spread(level.shape[2], FRAMES))]


def preview_sheet(previews: Previews, captions: Sequence[str], cell: int = 96) -> Image.Image:
    """Show a row for each sample and level, innermost first, and a column for each step.

    A level of clips has three rows, for the first, the middle and the last frame.

    Args:
        previews: Predicted images.
        captions: Caption of each sample.
        cell: Side of an image in the picture, in pixels.
    """
    numbers = [number for number in previews.numbers if number in previews.images]
    levels, count = len(previews.images[numbers[0]]), len(previews.images[numbers[0]][0])
    across, down = len(numbers) * (cell + GAP) - GAP, levels * (cell + GAP) + LINE
    canvas = Canvas(2 * MARGIN + across, 2 * MARGIN + LINE + count * down)
    for row in range(count):
        top = MARGIN + LINE + row * down
        canvas.text(MARGIN, top, captions[row], across)
        for column, number in enumerate(numbers):
            x = MARGIN + column * (cell + GAP)
            if row == 0:
                canvas.text(x, MARGIN - 4, f"step {number}", cell, FAINT)
            for place, level in enumerate(reversed(previews.images[number])):
                canvas.image(x, top + LINE + place * (cell + GAP), level[row], cell)
    return canvas.picture
