"""Tiny videos, made by PyAV."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

__all__ = ["grey_levels", "numbered", "patterned", "write_video"]


def numbered(count: int, width: int = 16, height: int = 16) -> np.ndarray:
    """Frames of one grey each, from 0 by steps of 8: their number can be read back."""
    return np.repeat(np.arange(count, dtype=np.uint8)[:, None] * 8, height * width * 3, 1).reshape(
        count, height, width, 3
    )


def grey_levels(frames: Sequence[np.ndarray]) -> list[int]:
    """The numbers of frames of :func:`numbered`."""
    return [round(float(np.mean(frame)) / 8) for frame in frames]


def patterned(count: int, width: int = 32, height: int = 32, seed: int = 0) -> np.ndarray:
    """Frames of a coloured gradient with a square that moves."""
    rng = np.random.default_rng(seed)
    frames = np.zeros((count, height, width, 3), np.uint8)
    frames[..., 0] = np.linspace(0, 200, width, dtype=np.uint8)
    frames[..., 1] = np.linspace(0, 200, height, dtype=np.uint8)[:, None]
    frames[..., 2] = int(rng.integers(256))
    side = max(2, min(width, height) // 4)
    for index, frame in enumerate(frames):
        left = (width - side) * index // max(1, count - 1)
        frame[height // 2 : height // 2 + side, left : left + side] = 255
    return frames


def write_video(
    path: Path | None,
    frames: np.ndarray,
    rate: float = 8,
    *,
    times: Sequence[int] | None = None,
    base: Fraction | None = None,
    codec: str = "libx264",
    form: str = "mp4",
    pixels: str = "yuv420p",
    options: dict[str, str] | None = None,
    prepare: Callable[[Any], object] = lambda stream: None,
) -> bytes:
    """Encode a video, write it to a file if a path is given, and return its bytes.

    ``times`` are those of the frames in units of ``base``; by default they follow each other at ``rate``.
    """
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=form) as container:
        stream = container.add_stream(codec, rate=Fraction(rate).limit_denominator(1001), options=options or {})
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], pixels
        stream.codec_context.thread_count = 1
        if base is not None:
            stream.codec_context.time_base = base
        prepare(stream)
        for number, pixel in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixel, format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = times[number], base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    content = buffer.getvalue()
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return content
