"""Files of sampled clips: MP4, which any player and browser shows, or animated WebP, which keeps every pixel.

H.264 takes even sides, and players show small videos badly. Clips in an MP4 are therefore enlarged by whole pixels to
sides of at least 128, and an odd side gets one more row or column.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from builders.files import replacing
from builders.video.clip import VideoError, VideoUnavailableError
from builders.video.pyav import decode_clip, encode_mp4
from builders.video.webp import encode_webp
from specs.blocks.size import Size

__all__ = ["FRAME_RATE", "ClipFormat", "playable", "usable_format"]

#: Frames a second, by default.
FRAME_RATE = 8.0
#: Least side of an MP4 in pixels.
LEAST_SIDE = 128


def playable(frames: np.ndarray) -> np.ndarray:
    """Return frames with even sides of at least 128 pixels, for H.264.

    Sides below 128 are enlarged by a whole number. An odd side gets its last row or column twice.

    Args:
        frames: Frames (frames, height, width, 3) uint8.
    """
    factor = _factor(min(frames.shape[1:3]))
    frames = frames.repeat(factor, axis=1).repeat(factor, axis=2)
    height, width = frames.shape[1:3]
    return np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def _factor(side: int) -> int:
    return max(1, -(-LEAST_SIDE // side))


@dataclass(frozen=True)
class ClipFormat:
    """How clips are written.

    Attributes:
        suffix: "mp4", or "webp" for an animated WebP without loss.
        rate: Frames a second.
    """

    suffix: Literal["mp4", "webp"] = "mp4"
    rate: float = FRAME_RATE

    def encode(self, frames: np.ndarray) -> bytes:
        """Return the bytes of a file.

        Args:
            frames: Frames (frames, height, width, 3) uint8.

        Raises:
            VideoUnavailableError: PyAV, or its encoder of H.264, is not installed.
            VideoError: The frames cannot be encoded.
        """
        if self.suffix == "webp":
            return encode_webp(frames, self.rate)
        return encode_mp4(playable(frames), self.rate)

    def write(self, frames: np.ndarray, path: Path) -> Path:
        """Write a file, replacing the whole file or nothing; errors as :meth:`encode`, and OSError."""
        data = self.encode(frames)
        with replacing(path) as temporary:
            temporary.write_bytes(data)
        return path

    def read(self, path: Path, size: Size) -> np.ndarray:
        """Read the frames of a file that :meth:`write` wrote: (frames, height, width, 3) uint8.

        Args:
            path: File.
            size: Side and number of frames of the clip.

        Raises:
            VideoError: The file is damaged, or holds another clip.
            OSError: The file cannot be read.
        """
        if self.suffix == "webp":
            frames = _read_webp(path, size.frames, self.rate)
        else:
            frames = _shrink(decode_clip(path.read_bytes(), str(path), frames=size.frames).frames, size.side)
        if frames.shape != (size.frames, size.side, size.side, 3):
            raise VideoError(f"{path}: holds another clip, not one of {size}")
        return frames


def _shrink(frames: np.ndarray, side: int) -> np.ndarray:
    """Undo :func:`playable`: average the pixels of each square that was one pixel; other sizes stay as they are."""
    factor = _factor(side)
    large = side * factor
    if frames.shape[1:3] != (large + large % 2, large + large % 2):
        return frames
    squares = frames[:, :large, :large].reshape(len(frames), side, factor, side, factor, 3)
    return squares.mean((2, 4)).round().astype(np.uint8)


def _read_webp(path: Path, count: int, rate: float) -> np.ndarray:
    """Return the frames of an animated WebP, where equal frames in a row are stored as one that is shown longer."""
    frames, ends = [], [0.0]
    try:
        with Image.open(path) as picture:
            for index in range(getattr(picture, "n_frames", 1)):
                picture.seek(index)
                frames.append(np.asarray(picture.convert("RGB")))
                ends.append(ends[-1] + picture.info.get("duration", 0))
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise VideoError(f"{path}: cannot be read ({error})") from None
    times = (np.arange(count) + 0.5) * 1000 / rate
    shown = np.searchsorted(ends[1:], times, side="right").clip(max=len(frames) - 1)
    return np.stack([frames[index] for index in shown])


def usable_format(rate: float = FRAME_RATE, lossless: bool = False) -> tuple[ClipFormat, str | None]:
    """Return how clips are written here, and a note if it is WebP because MP4 cannot be written.

    Args:
        rate: Frames a second.
        lossless: Whether every pixel is kept.
    """
    if lossless:
        return ClipFormat("webp", rate), None
    try:
        ClipFormat("mp4", rate).encode(np.zeros((1, 2, 2, 3), dtype=np.uint8))
    except VideoUnavailableError as error:
        return ClipFormat("webp", rate), f"{error}; clips are written as animated WebP"
    return ClipFormat("mp4", rate), None
