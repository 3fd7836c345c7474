"""Pixel conversions: uint8 in 0..255, float32 in [-1, 1], and PIL images."""

from __future__ import annotations

import torch
from PIL import Image
from torch import Tensor


def to_float(images: Tensor) -> Tensor:
    """uint8 in 0..255 to float32 in [-1, 1]."""
    return images.float() / 127.5 - 1


def to_bytes(images: Tensor) -> Tensor:
    """float32 in [-1, 1] to uint8 in 0..255; of what :func:`to_float` gave, exactly what it was given."""
    return ((images + 1) * 127.5).round().to(torch.uint8)


def to_pil(image: Tensor) -> Image.Image:
    """An image (channels, height, width) in [-1, 1] as RGB; one channel gives grey."""
    levels = to_bytes(image.detach().float().cpu().clamp(-1, 1))
    return Image.fromarray(levels.expand(3, -1, -1).permute(1, 2, 0).contiguous().numpy())
