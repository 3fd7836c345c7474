"""The motions of ``moving-emoji``: where the emoji of a clip is in each frame. No image is read here."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

__all__ = ["FRAMES", "MOTIONS", "SEED", "Pose", "caption", "poses"]

#: Frames of a clip.
FRAMES = 16
#: Seed of the clips of the dataset.
SEED = 0
#: What the emoji of each class does, as captions say it.
MOTIONS = {
    "still": "stands still",
    "left": "moves to the left",
    "right": "moves to the right",
    "up": "moves up",
    "down": "moves down",
    "clockwise": "turns clockwise",
    "anticlockwise": "turns anticlockwise",
    "grow": "grows",
    "shrink": "shrinks",
}
#: Directions to the right and down.
_DIRECTIONS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
#: Ranges of the numbers of a clip. Lengths are shares of the frame's side.
_SIZE, _TRAVEL, _TURN, _GROWTH = (0.45, 0.55), (0.35, 0.5), (60.0, 120.0), (1.6, 2.2)


@dataclass(frozen=True, slots=True)
class Pose:
    """An emoji in a frame. Lengths are shares of the frame's side.

    Attributes:
        x: Center of the emoji, from 0 (left) to 1 (right).
        y: Center of the emoji, from 0 (top) to 1 (bottom).
        size: Side of the emoji's square.
        angle: Turn from upright in degrees, clockwise.
    """

    x: float = 0.5
    y: float = 0.5
    size: float = 0.5
    angle: float = 0.0


def caption(name: str, motion: str) -> str:
    """Return the caption of a clip: "rocket moves to the left"."""
    return f"{name} {MOTIONS[motion]}"


def poses(key: str, motion: str, seed: int = SEED) -> tuple[Pose, ...]:
    """Return the pose of an emoji in each frame of a clip.

    All numbers are drawn from the SHA-256 of ``seed:key:motion``. The motion is even over the clip: lengths and angles
    change by equal differences, sizes by equal ratios.

    Args:
        key: Key of the emoji.
        motion: One of :data:`MOTIONS`.
        seed: Seed of the clip.
    """
    digest = hashlib.sha256(f"{seed}:{key}:{motion}".encode()).digest()
    shares = [int.from_bytes(digest[first : first + 8], "big") / 2**64 for first in range(0, 32, 8)]
    size = _between(_SIZE, shares[0])
    # An emoji that moves stays in the frame.
    travel = _between((_TRAVEL[0], min(_TRAVEL[1], 1 - size)), shares[1])
    turn, growth = _between(_TURN, shares[2]), _between(_GROWTH, shares[3])
    return tuple(_pose(motion, frame / (FRAMES - 1), size, travel, turn, growth) for frame in range(FRAMES))


def _between(bounds: tuple[float, float], share: float) -> float:
    return bounds[0] + share * (bounds[1] - bounds[0])


def _pose(motion: str, time: float, size: float, travel: float, turn: float, growth: float) -> Pose:
    """Return the pose at a time from 0 (first frame) to 1 (last frame)."""
    if motion in _DIRECTIONS:
        right, down = _DIRECTIONS[motion]
        moved = travel * (time - 0.5)
        return Pose(0.5 + right * moved, 0.5 + down * moved, size)
    if motion in ("clockwise", "anticlockwise"):
        return Pose(size=size, angle=turn * time * (1 if motion == "clockwise" else -1))
    if motion in ("grow", "shrink"):
        exponent = (time - 0.5) * (1 if motion == "grow" else -1)
        return Pose(size=size * math.exp(exponent * math.log(growth)))
    return Pose(size=size)
