"""The diffusion process, one operation a function: noising, targets, losses, reverse steps, and all levels jointly.

Tensors in, tensors out, for any level. ``alpha_bar`` is a number, (batch,) or (batch, 1, 1, 1); a schedule is read once
per row and never spread over pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from builders.diffusion.schedules import (
    SCHEDULES,
    min_snr_weight,
    noise_schedule,
    shift_schedule,
    sigmoid_weight,
    signal_to_noise,
    vdm_weight,
)
from specs.graph import EntryGraph

__all__ = [
    "SCHEDULES",
    "DiffusionProcess",
    "add_noise",
    "eps_from_v",
    "eps_loss",
    "min_snr_weight",
    "noise_schedule",
    "pyramid",
    "shift_schedule",
    "sigmoid_weight",
    "signal_to_noise",
    "v_loss",
    "v_target",
    "vdm_weight",
    "x0_from_v",
]

Number = Tensor | float


def _rows(value: Number, like: Tensor) -> Tensor:
    """``value`` in a shape that broadcasts over the rows of ``like``."""
    dtype = torch.promote_types(like.dtype, torch.float32)
    value = torch.as_tensor(value, dtype=dtype, device=like.device)
    # The same for images and for videos: one number a row, in front of all other axes.
    return value if value.dim() == 0 else value.reshape(-1, *[1] * (like.dim() - 1))


def add_noise(x: Tensor, eps: Tensor, alpha_bar: Number) -> Tensor:
    """z = sqrt(g) x + sqrt(1 - g) eps (arXiv 2310.15111, equation 1)."""
    g = _rows(alpha_bar, x)
    return g.sqrt() * x + (1 - g).sqrt() * eps


def v_target(x: Tensor, eps: Tensor, alpha_bar: Number) -> Tensor:
    """v = sqrt(g) eps - sqrt(1 - g) x (arXiv 2202.00512, section 4)."""
    g = _rows(alpha_bar, x)
    return g.sqrt() * eps - (1 - g).sqrt() * x


def x0_from_v(z: Tensor, v: Tensor, alpha_bar: Number) -> Tensor:
    """The clean image a v prediction implies: sqrt(g) z - sqrt(1 - g) v."""
    g = _rows(alpha_bar, z)
    return g.sqrt() * z - (1 - g).sqrt() * v


def eps_from_v(z: Tensor, v: Tensor, alpha_bar: Number) -> Tensor:
    """The noise a v prediction implies: sqrt(1 - g) z + sqrt(g) v."""
    g = _rows(alpha_bar, z)
    return (1 - g).sqrt() * z + g.sqrt() * v


def v_loss(v: Tensor, x: Tensor, eps: Tensor, alpha_bar: Number) -> Tensor:
    """Mean squared error in v space, one a sample: (batch,) float32."""
    return (v.float() - v_target(x, eps, alpha_bar)).square().flatten(1).mean(1)


def eps_loss(v: Tensor, x: Tensor, eps: Tensor, alpha_bar: Number) -> Tensor:
    """Mean squared error in eps space of a v prediction, one a sample: (batch,) float32.

    The published networks were trained with it. It is g times the v loss.
    """
    return (eps_from_v(add_noise(x, eps, alpha_bar), v.float(), alpha_bar) - eps).square().flatten(1).mean(1)


def pyramid(x: Tensor, graph: EntryGraph) -> list[Tensor]:
    """The clean image of every level, highest resolution first, by average pooling.

    Args:
        x: (batch, channels, height, width) at the outermost level's resolution, or a multiple of it.
        graph: the entry.
    """
    outermost = graph.levels[0].resolution
    if x.shape[-1] % outermost:
        raise ValueError(f"images of {x.shape[-1]} pixels do not average to levels of {outermost}")
    return [
        x if x.shape[-1] == level.resolution else functional.avg_pool2d(x, x.shape[-1] // level.resolution)
        for level in graph.levels
    ]


class DiffusionProcess:
    """The process of an entry: one time for all levels, each level's own shifted schedule and independent noise.

    Args:
        graph: the entry.
        device: where its schedules live.
    """

    def __init__(self, graph: EntryGraph, device: torch.device | str = "cpu") -> None:
        self.graph = graph
        self.steps = graph.process.steps
        innermost = graph.levels[-1].resolution
        #: ``alpha_bar`` (steps + 1,) of each level, outermost first.
        self.schedules: tuple[Tensor, ...] = tuple(
            noise_schedule(
                graph.process.schedule, level.resolution / innermost, graph.process.shift, graph.process.steps
            ).to(device)
            for level in graph.levels
        )

    def alpha_bar(self, index: Tensor | int) -> list[Tensor]:
        """The schedule of every level at an index 0..steps."""
        return [schedule[index] for schedule in self.schedules]

    def add_noise(self, images: Sequence[Tensor], eps: Sequence[Tensor], t: Tensor) -> list[Tensor]:
        """Noisy images of every level at time index ``t`` (batch,) in 0..steps - 1, outermost first.

        A level with fewer rows than ``t`` has the first ones.
        """
        return [
            add_noise(x, noise, schedule[t[: x.shape[0]] + 1])
            for x, noise, schedule in zip(images, eps, self.schedules, strict=True)
        ]
