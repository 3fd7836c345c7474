"""Clips made up for tests, and what is done to them to see whether a metric notices."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

__all__ = ["blurred", "changed", "frame_map", "moving_squares"]


def moving_squares(count: int, frames: int = 8, side: int = 16, seed: int = 0) -> Tensor:
    """Squares of random colors that move to one side, evenly and within the frame: (count, 3, frames, side, side)."""
    generator = torch.Generator().manual_seed(seed)
    clips = torch.full((count, 3, frames, side, side), 255, dtype=torch.uint8)
    square = side // 3
    for clip in clips:
        color = torch.randint(0, 200, (3, 2, 2), dtype=torch.uint8, generator=generator)
        pattern = color.repeat_interleave(square // 2 + 1, 1).repeat_interleave(square // 2 + 1, 2)[:, :square, :square]
        start, end = torch.rand(2, 2, generator=generator) * (side - square)
        for frame in range(frames):
            x, y = (start + (end - start) * frame / (frames - 1)).round().int().tolist()
            clip[:, frame, y : y + square, x : x + square] = pattern
    return clips


def frame_map(side: int = 16, width: int = 32):
    """A function from clips to features of their frames, (clips, frames, width): two random layers."""
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(3 * side * side, width, generator=generator) / side
    second = torch.randn(width, width, generator=generator) / width**0.5

    def features(clips: Tensor) -> np.ndarray:
        dark = (1 - clips.float() / 255).transpose(1, 2).flatten(2)
        return torch.relu(torch.relu(dark @ first) @ second).numpy()

    return features


def blurred(clips: Tensor) -> Tensor:
    """Clips with each pixel averaged with its neighbors."""
    count, _, frames, height, width = clips.shape
    rows = clips.float().transpose(1, 2).reshape(count * frames, 3, height, width)
    padded = torch.nn.functional.pad(rows, (1, 1, 1, 1), mode="replicate")
    smooth = torch.nn.functional.avg_pool2d(padded, 3, 1).round().to(torch.uint8)
    return smooth.reshape(count, frames, 3, height, width).transpose(1, 2)


def changed(features: np.ndarray) -> Mapping[str, np.ndarray]:
    """Features of frames of the same clips with their frames shuffled, frozen at the first, spliced and reversed.

    Spliced clips have the second half of the next clip.
    """
    generator = np.random.RandomState(0)
    count, frames, _ = features.shape
    half = frames // 2
    return {
        "shuffled": np.stack([clip[generator.permutation(frames)] for clip in features]),
        "frozen": np.repeat(features[:, :1], frames, 1),
        "spliced": np.concatenate((features[:, :half], np.roll(features, count // 2, 0)[:, half:]), 1),
        "reversed": features[:, ::-1],
    }
