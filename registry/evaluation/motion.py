"""Motions of things on a white ground: path, change of size, turning; and whether clips move as their classes say.

All of it is read from the ink, 1 minus the least of the three channels, above 0.5 (in clips with pale frames, above
half of the darkest ink of the palest one), so that the noise that a model leaves on the ground counts for nothing.
Motions are taken to be even in time: each is the slope of a line through all frames.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from builders.data.moving.motions import MOTIONS
from registry.evaluation.turning import turned

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["LEAST", "Motions", "are_motions", "motions_of", "names_of"]

#: Ink above which a pixel belongs to the thing.
INK = 0.5
#: Darkest ink below which a frame shows nothing.
FAINT = 0.2
#: Least path (in sides), logarithm of growth, and turn (in degrees) that count: half of the least that move so in
#: ``moving-emoji``, whose paths are 0.35 to 0.5, growths 1.6 to 2.2 and turns 60 to 120 degrees.
LEAST = (0.35 / 2, math.log(1.6) / 2, 60 / 2)
#: Clips that are measured at once. Bounds memory.
AT_ONCE = 64


@dataclass(frozen=True, slots=True, eq=False)
class Motions:
    """What moves in clips, from the first frame to the last.

    Attributes:
        path: Way of the center of ink to the right and down, (clips, 2), in sides of the frame.
        growth: Logarithm of the factor by which the thing grows in length, (clips,): half that of its mass of ink.
        turn: Angle in degrees, clockwise positive, (clips,).
        visible: Whether every frame shows ink, (clips,) bool; all else is zero where one does not.
    """

    path: Tensor
    growth: Tensor
    turn: Tensor
    visible: Tensor

    def __len__(self) -> int:
        return len(self.growth)


def are_motions(classes: Sequence[str]) -> bool:
    """Return whether the names of classes are names of motions, each in ``builders.data.moving.motions.MOTIONS``."""
    return bool(classes) and set(classes) <= set(MOTIONS)


def motions_of(clips: Tensor) -> Motions:
    """Measure the motions of clips.

    Args:
        clips: Clips on a white ground, (clips, 3, frames, height, width) uint8, of at least two frames.
    """
    import torch

    parts = [_motions(part) for part in clips.split(AT_ONCE)]
    return Motions(*(torch.cat([getattr(part, name) for part in parts]) for name in Motions.__slots__))


def _motions(clips: Tensor) -> Motions:
    import torch

    ink = 1 - clips.amin(1).float() / 255  # (clips, frames, height, width)
    darkest = ink.amax((2, 3)).amin(1)  # (clips,): of the palest frame
    ink = torch.where(ink > (darkest / 2).clamp(max=INK)[:, None, None, None], ink, 0)
    mass = ink.sum((2, 3))  # (clips, frames)
    visible = darkest >= FAINT
    centers = torch.stack(((ink.sum(2) @ _middles(ink.shape[3])), (ink.sum(3) @ _middles(ink.shape[2]))), -1)
    centers = centers / mass.clamp(min=1e-6)[:, :, None]
    seen = visible.float()
    path = _change(centers) * seen[:, None]
    growth = _change(mass.clamp(min=1e-6).log()[:, :, None])[:, 0] / 2 * seen
    return Motions(path, growth, turned(clips, centers) * seen, visible)


def _middles(side: int) -> Tensor:
    """Return the middles of pixels, (side,), in sides from the middle of the frame."""
    import torch

    return (torch.arange(side) + 0.5) / side - 0.5


def _change(values: Tensor) -> Tensor:
    """Return the change from first to last frame of the line through values, (clips, frames, d) to (clips, d)."""
    import torch

    time = torch.linspace(-0.5, 0.5, values.shape[1])
    return torch.einsum("nfd,f->nd", values, time) / time.square().sum()


def names_of(motions: Motions) -> tuple[str, ...]:
    """Return the motion of each clip, a name of ``MOTIONS``: the one that exceeds its least extent by most.

    A clip in which none reaches its least extent is ``still``; the name of one that shows nothing is empty.
    """
    import torch

    path, growth, turn = LEAST
    extents = torch.stack((*(motions.path / path).T, motions.growth / growth, motions.turn / turn), 1)  # (clips, 4)
    pairs = (("left", "right"), ("up", "down"), ("shrink", "grow"), ("anticlockwise", "clockwise"))
    names = []
    for extent, visible in zip(extents.tolist(), motions.visible.tolist(), strict=True):
        largest = max(range(4), key=lambda kind: abs(extent[kind]))
        moves = abs(extent[largest]) >= 1
        name = pairs[largest][extent[largest] > 0] if moves else "still"
        names.append(name if visible else "")
    return tuple(names)
