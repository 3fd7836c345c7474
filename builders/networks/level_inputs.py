"""The noisy inputs that the levels of a network take, and their checks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from builders.networks.inputs import check_images
from specs.blocks import BLOCKS, Size
from specs.graph import EntryGraph, LevelGraph, shapes

__all__ = ["LevelInput", "check_levels", "level_inputs"]


@dataclass(frozen=True)
class LevelInput:
    """What the input of a level must be: (rows, channels, height, width), or with an axis of frames before height.

    Attributes:
        label: Label of the level.
        channels: Number of channels.
        size: Pixels and frames that the level is meant for.
        side: Number that divides height and width.
        frames: Number that divides the number of frames; the number of frames itself if it is ``fixed``.
        fixed: Whether a level inside has images: then the one frame of a clip must be left there.
    """

    label: str
    channels: int
    size: Size
    side: int
    frames: int
    fixed: bool

    def check(self, z: Tensor, weights: torch.dtype) -> None:
        """Check an input of the level.

        Raises:
            ValueError: Its type, number of axes, channels, sides or frames do not fit.
        """
        check_images(self.label, z, weights)
        clips = self.size.frames > 1
        if z.dim() != 4 + clips or z.shape[1] != self.channels:
            wanted = f"(rows, {self.channels}, {'frames, ' if clips else ''}height, width)"
            raise ValueError(f"the input of level {self.label} has shape {tuple(z.shape)}, not {wanted}")
        height, width = z.shape[-2:]
        if height % self.side or width % self.side:
            sides = f"{height}x{width}"
            raise ValueError(f"level {self.label} needs sides that are multiples of {self.side}, not {sides}")
        if clips:
            self._check_frames(z.shape[2])

    def _check_frames(self, frames: int) -> None:
        if frames == 0:
            raise ValueError(f"the input of level {self.label} has no frames")
        if self.fixed and frames != self.frames:
            raise ValueError(f"level {self.label} takes clips of {self.frames} frames, not {frames}")
        if frames % self.frames:
            raise ValueError(f"level {self.label} needs frames that are a multiple of {self.frames}, not {frames}")


def level_inputs(graph: EntryGraph) -> tuple[LevelInput, ...]:
    """Return what the levels of an entry take, outermost first."""
    fixed = graph.levels[-1].frames == 1
    return tuple(
        LevelInput(
            level.label,
            level.channels,
            level.size,
            _side(level),
            level.frames if fixed else level.frames // min(size.frames for _, size in shapes(level).values()),
            fixed,
        )
        for level in graph.levels
    )


def _side(level: LevelGraph) -> int:
    """Return the number that must divide the sides of a level's input: its coarsest stage has whole pixels."""
    sizes = shapes(level)
    side = level.resolution // min(size.side for _, size in sizes.values())
    for node in level.nodes:
        if node.block == "temporal_attention":
            # Its grid is coarser than the stage.
            factor = BLOCKS[node.block].arguments(node.args).factor
            side = math.lcm(side, factor * (level.resolution // sizes[node.name][1].side))
    return side


def check_levels(levels: Sequence[LevelInput], z: Sequence[Tensor], weights: torch.dtype) -> None:
    """Check the inputs of all levels, and that they fit each other.

    Args:
        levels: What the levels take, outermost first.
        z: Their inputs.
        weights: Type of the weights.

    Raises:
        ValueError: An input does not fit its level, or the level inside it.
    """
    for level, x in zip(levels, z, strict=True):
        level.check(x, weights)
    for outer, inner, x, y in zip(levels, levels[1:], z, z[1:], strict=False):
        ratio = outer.size.side // inner.size.side
        if x.shape[-2] != ratio * y.shape[-2] or x.shape[-1] != ratio * y.shape[-1]:
            times = f"is {ratio} times the side" if ratio > 1 else "has the side"
            found = f"{tuple(x.shape[-2:])} and {tuple(y.shape[-2:])}"
            raise ValueError(f"level {outer.label} {times} of {inner.label}, but their inputs are {found}")
        ratio = outer.size.frames // inner.size.frames
        if inner.size.frames > 1 and x.shape[2] != ratio * y.shape[2]:
            times = f"{ratio} times the frames" if ratio > 1 else "the frames"
            found = f"{x.shape[2]} and {y.shape[2]}"
            raise ValueError(f"level {outer.label} has {times} of {inner.label}, but their inputs have {found}")
        if x.shape[0] > y.shape[0]:
            raise ValueError(f"level {outer.label} has {x.shape[0]} rows, more than {inner.label} ({y.shape[0]})")
