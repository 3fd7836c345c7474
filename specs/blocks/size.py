"""The size of a feature map."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

__all__ = ["Size", "frames_of"]


def frames_of(number: int) -> str:
    """Return a number of frames in words, such as "1 frame" or "8 frames"."""
    return f"{number} frame" if number == 1 else f"{number} frames"


@dataclass(frozen=True, slots=True)
class Size:
    """Side in pixels and number of frames of a feature map. An image has one frame."""

    side: int
    frames: int = 1

    @property
    def pixels(self) -> int:
        """Pixels of one frame."""
        return self.side * self.side

    @property
    def positions(self) -> int:
        """Pixels of all frames."""
        return self.frames * self.pixels

    def with_side(self, side: int) -> Size:
        """Return the size of the same frames with another side."""
        return replace(self, side=side)

    def with_frames(self, frames: int) -> Size:
        """Return the size of the same pixels with another number of frames."""
        return replace(self, frames=frames)

    @property
    def shape(self) -> tuple[int, ...]:
        """Axes behind the channels of a tensor: (height, width), or (frames, height, width) of a clip."""
        return (self.side, self.side) if self.frames == 1 else (self.frames, self.side, self.side)

    def ratio(self, inner: Size) -> float:
        """Return the ratio s of the noise schedule, (N / n) sqrt(F / f), of a level around an inner one."""
        return self.side / inner.side * math.sqrt(self.frames / inner.frames)

    @property
    def label(self) -> str:
        """Label of a level of this size, such as ``r64`` or ``r64f16``."""
        return f"r{self.side}" if self.frames == 1 else f"r{self.side}f{self.frames}"

    @property
    def short(self) -> str:
        """Abbreviated form, such as "64 px" or "64 px, 16 frames"."""
        return f"{self.side} px" if self.frames == 1 else f"{self.side} px, {self.frames} frames"

    def __str__(self) -> str:
        return f"{self.side} pixels" if self.frames == 1 else f"{self.side} pixels, {self.frames} frames"
