"""Pixel conversions: uint8 in 0..255, float32 in [-1, 1], and PIL images."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def to_float(images: Tensor) -> Tensor:
    """Convert uint8 in 0..255, of any shape, to float32 in [-1, 1]."""
    # In place, because fresh memory for large results takes longer than the arithmetic.
    return images.to(torch.float32, copy=True).div_(127.5).sub_(1)


def to_bytes(images: Tensor) -> Tensor:
    """Convert float32 in [-1, 1], of any shape, to uint8 in 0..255; the exact inverse of :func:`to_float`."""
    return ((images + 1) * 127.5).round().to(torch.uint8)


def to_pil(image: Tensor) -> Image.Image:
    """Convert an image (channels, height, width) in [-1, 1], with 3 channels or 1, to an RGB image."""
    levels = to_bytes(image.detach().float().cpu().clamp(-1, 1))
    return Image.fromarray(levels.expand(3, -1, -1).permute(1, 2, 0).contiguous().numpy())


def to_frames(clip: Tensor) -> np.ndarray:
    """Convert a clip (channels, frames, height, width) in [-1, 1] to frames (frames, height, width, 3) uint8."""
    levels = to_bytes(clip.detach().float().cpu().clamp(-1, 1)).expand(3, -1, -1, -1)
    return np.ascontiguousarray(levels.permute(1, 2, 3, 0).numpy())


def from_frames(frames: np.ndarray) -> Tensor:
    """Convert frames (frames, height, width, 3) uint8 to a clip (3, frames, height, width) float32 in [-1, 1]."""
    return to_float(torch.from_numpy(np.ascontiguousarray(frames)).permute(3, 0, 1, 2))
