"""Shards of clips made up for tests."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np

from builders.video.pyav import encode_mp4


def frames_of(number: int, frames: int = 4, size: tuple[int, int] = (16, 16)) -> np.ndarray:
    """Frames (frames, height, width, 3) uint8 of a clip: a square of some color that moves to the right."""
    pixels = np.full((frames, size[1], size[0], 3), 255, np.uint8)
    for index in range(frames):
        pixels[index, 4:12, 2 * index : 2 * index + 8] = (number * 37 % 256, 100, 40 * index % 256)
    return pixels


@cache
def clip_bytes(number: int, frames: int = 4, size: tuple[int, int] = (16, 16)) -> bytes:
    """A lossless MP4 of :func:`frames_of`."""
    return encode_mp4(frames_of(number, frames, size), 8, lossless=True)


def clip_facts(content: bytes, frames: int = 4, **facts: Any) -> bytes:
    """The ``.json`` of a clip."""
    own = {"frames": frames, "rate": 8, "start": 0.0, "scale": 48, "sha256": hashlib.sha256(content).hexdigest()}
    return json.dumps(own | facts).encode()


def clip_samples(
    count: int, frames: int = 4, size: tuple[int, int] = (16, 16), **facts: Any
) -> Iterator[tuple[str, bytes]]:
    """Members of a shard of clips."""
    for number in range(count):
        content = clip_bytes(number, frames, size)
        yield f"{number:04}.mp4", content
        own = {"caption": f"no. {number}", "category": ("cat", "dog")[number % 2]}
        yield f"{number:04}.json", clip_facts(content, frames, **(own | facts))
