"""The plain data set: image files that are opened, cropped, resized and converted one by one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

__all__ = ["PlainImages"]


class PlainImages(torch.utils.data.Dataset[Tensor]):
    """Images of files as tensors (3, side, side) in [-1, 1].

    Args:
        paths: Image files.
        side: Side of the images in pixels.
    """

    def __init__(self, paths: Sequence[Path], side: int) -> None:
        self.paths, self.side = list(paths), side

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        with Image.open(self.paths[index]) as opened:
            image = opened.convert("RGB")
        size = min(image.size)
        left, top = (image.width - size) // 2, (image.height - size) // 2
        image = image.crop((left, top, left + size, top + size))
        image = image.resize((self.side, self.side), Image.Resampling.BOX)
        array = np.asarray(image).astype(np.float32) / 127.5 - 1
        return torch.from_numpy(array.transpose(2, 0, 1))

    def batch(self, start: int, size: int) -> Tensor:
        """Return images (size, 3, side, side) from a position, and from the beginning again after the last one."""
        return torch.stack([self[index % len(self)] for index in range(start, start + size)])
