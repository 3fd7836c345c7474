"""Clips as arrays: which frames are taken, and their order in a tensor."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from builders.data.dataset_card import DatasetCard
from builders.data.errors import DataError

__all__ = ["chosen_frames", "stacked"]


def chosen_frames(card: DatasetCard, frames: int) -> range:
    """Return which frames of a stored clip are taken: the first of each of ``frames`` equal groups.

    Args:
        card: Card of the dataset.
        frames: Frames of a clip that is wanted; 1 for images.

    Raises:
        DataError: The dataset holds images and clips are wanted, or its clips cannot be divided so.
    """
    if frames > 1 and card.frames == 1:
        raise DataError(f"{card.name} holds images; clips of {frames} frames are needed")
    if frames < 1 or card.frames % frames:
        raise DataError(
            f"{card.name} holds clips of {card.frames} frames, which cannot be divided into {frames} groups; "
            f"choose a number of frames that divides {card.frames}"
        )
    return range(0, card.frames, card.frames // frames)


def stacked(clips: Iterable[np.ndarray], count: int | None = None) -> Tensor:
    """Return samples as one tensor. Each is copied when it comes, while the processor has it in its cache.

    Args:
        clips: Pixels (frames, height, width, 3) uint8 of each sample; at least one.
        count: Number of samples. Default: they are counted first.

    Returns:
        Images (N, 3, height, width) if there is one frame, otherwise clips (N, 3, frames, height, width) with the
        frames of a clip one after the other in memory; uint8.
    """
    if count is None:
        clips = list(clips)
        count = len(clips)
    pixels = np.empty(0, dtype=np.uint8)
    for row, clip in enumerate(clips):
        moved = clip.transpose(0, 3, 1, 2)
        if not row:
            pixels = np.empty((count, *moved.shape), dtype=np.uint8)
        pixels[row] = moved  # NumPy transposes bytes twice as fast as torch
    rows = torch.from_numpy(pixels)
    return rows[:, 0] if rows.shape[1] == 1 else rows.transpose(1, 2)
