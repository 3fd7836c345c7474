"""The diffusion process: noising, targets and losses of one level, and the process of all levels jointly.

In all functions, images have the shape (batch, channels, height, width), clips the shape (batch, channels, frames,
height, width), and ``alpha_bar``, written g in equations, is a number, (batch,), also as a list, or (batch, 1, 1, 1).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from builders.diffusion.schedules import (
    SCHEDULES,
    half_log_snr,
    min_snr_weight,
    noise_schedule,
    shift_schedule,
    sigmoid_weight,
    signal_to_noise,
    soft_min_snr_weight,
    vdm_weight,
)
from specs.graph import EntryGraph, LevelGraph

__all__ = [
    "SCHEDULES",
    "DiffusionProcess",
    "add_noise",
    "eps_from_v",
    "eps_loss",
    "min_snr_weight",
    "noise_schedule",
    "pyramid",
    "seen_by",
    "shift_schedule",
    "sigmoid_weight",
    "signal_to_noise",
    "soft_min_snr_weight",
    "v_loss",
    "v_target",
    "vdm_weight",
    "x0_from_v",
]

Number = Tensor | Sequence[float] | float


def per_row(value: Number, like: Tensor) -> Tensor:
    """Reshape a number or one number per row to broadcast over ``like`` (batch, ...), with at least its precision."""
    dtype = torch.promote_types(like.dtype, torch.float32)
    if isinstance(value, (int, float)):  # filled in on the device; a copy from the host would wait for it
        return torch.full((), value, dtype=dtype, device=like.device)
    value = torch.as_tensor(value, dtype=dtype, device=like.device)
    return value if value.dim() == 0 else value.reshape(-1, *[1] * (like.dim() - 1))


def add_noise(x: Tensor, eps: Tensor, alpha_bar: Number) -> Tensor:
    """Return noisy images z = sqrt(g) x + sqrt(1 - g) eps (arXiv 2310.15111, equation 1)."""
    g = per_row(alpha_bar, x)
    return g.sqrt() * x + (1 - g).sqrt() * eps


def v_target(x: Tensor, eps: Tensor, alpha_bar: Number) -> Tensor:
    """Return v = sqrt(g) eps - sqrt(1 - g) x (arXiv 2202.00512, section 4)."""
    g = per_row(alpha_bar, x)
    return g.sqrt() * eps - (1 - g).sqrt() * x


def x0_from_v(z: Tensor, v: Tensor, alpha_bar: Number) -> Tensor:
    """Return the clean images that a v prediction implies: sqrt(g) z - sqrt(1 - g) v."""
    g = per_row(alpha_bar, z)
    return g.sqrt() * z - (1 - g).sqrt() * v


def eps_from_v(z: Tensor, v: Tensor, alpha_bar: Number) -> Tensor:
    """Return the noise that a v prediction implies: sqrt(1 - g) z + sqrt(g) v."""
    g = per_row(alpha_bar, z)
    return (1 - g).sqrt() * z + g.sqrt() * v


def v_loss(v: Tensor, x: Tensor, eps: Tensor, alpha_bar: Number) -> Tensor:
    """Return the mean squared error of each sample in v space, (batch,) float32."""
    return (v.float() - v_target(x, eps, alpha_bar)).square().flatten(1).mean(1)


def eps_loss(v: Tensor, x: Tensor, eps: Tensor, alpha_bar: Number) -> Tensor:
    """Return the mean squared error of each sample in eps space, of a v prediction: (batch,) float32.

    It is g times the v loss. The published networks were trained with it.
    """
    return (eps_from_v(add_noise(x, eps, alpha_bar), v.float(), alpha_bar) - eps).square().flatten(1).mean(1)


def pyramid(x: Tensor, graph: EntryGraph, images: Tensor | None = None) -> list[Tensor]:
    """Return the clean images or clips of every level, outermost first.

    A level of n pixels and f frames sees, of each group of F / f frames, the first one, averaged over squares of
    N / n pixels. A level of one frame sees frame 0, without the axis of the frames.

    Args:
        x: Images (batch, channels, height, width), or clips (batch, channels, frames, height, width) for an entry of
            clips, at the outermost level's resolution, or a multiple of it.
        graph: Graph of the entry.
        images: Images (rows, channels, height, width) for an entry of clips, which follow the clips in the levels of
            one frame. Their sides are a multiple of those of the outermost of these levels.

    Raises:
        ValueError: The resolution is not a multiple of the outermost level's, or clips have another number of frames.
    """
    _check_frames(x, graph.levels[0])
    _check_side(x, graph.levels[0])
    levels = [seen_by(x, level) for level in graph.levels]
    if images is None:
        return levels
    still = [level for level in graph.levels if level.frames == 1]
    if images.dim() != 4 or not still:
        what = "has no level of one frame" if not still else f"takes images, not the shape {tuple(images.shape)}"
        raise ValueError(f"{graph.name} {what}")
    _check_side(images, still[0])
    return [
        torch.cat([seen, _average(images, level.resolution)]) if level in still else seen
        for seen, level in zip(levels, graph.levels, strict=True)
    ]


def seen_by(x: Tensor, level: LevelGraph) -> Tensor:
    """Return what a level sees of larger images or longer clips: see :func:`pyramid`."""
    return _average(_seen_frames(x, level), level.resolution)


def _check_frames(x: Tensor, level: LevelGraph) -> None:
    frames = level.frames
    takes = f"clips of {frames} frames" if frames > 1 else "images"
    found = "images" if x.dim() == 4 else f"clips of {x.shape[2]} frames"
    if takes != found:
        raise ValueError(f"level {level.label} takes {takes}, not {found}")


def _check_side(x: Tensor, level: LevelGraph) -> None:
    if x.shape[-1] % level.resolution:
        raise ValueError(
            f"images of {x.shape[-1]} pixels cannot be averaged to {level.resolution}, which does not divide them"
        )


def _seen_frames(x: Tensor, level: LevelGraph) -> Tensor:
    """Return the frames of clips that a level sees; images as they are."""
    if x.dim() == 4:
        return x
    frames = level.frames
    return x[:, :, 0] if frames == 1 else x[:, :, :: x.shape[2] // frames]


def _average(x: Tensor, side: int) -> Tensor:
    """Return images or clips at a smaller side; the frames of a clip lie one after the other in memory."""
    factor = x.shape[-1] // side
    if factor == 1:
        return x
    if x.dim() == 4:
        return functional.avg_pool2d(x, factor)
    frames = x.transpose(1, 2)
    rows = functional.avg_pool2d(frames.flatten(0, 1), factor)
    return rows.unflatten(0, frames.shape[:2]).transpose(1, 2)


class DiffusionProcess:
    """Process of an entry: one time for all levels, and a shifted schedule for each.

    Args:
        graph: Graph of the entry.
        device: Device of the schedules.
    """

    def __init__(self, graph: EntryGraph, device: torch.device | str = "cpu") -> None:
        self.graph = graph
        self.steps = graph.process.steps
        process = graph.process
        #: ``alpha_bar`` (steps + 1,) of each level, outermost first.
        schedules = [
            noise_schedule(process.schedule, ratio, process.shift, process.steps) for ratio in graph.noise_ratios
        ]
        self.schedules: tuple[Tensor, ...] = tuple(schedule.to(device) for schedule in schedules)
        #: The same as numbers of the host, which are read without waiting for the device.
        self.numbers: tuple[tuple[float, ...], ...] = tuple(tuple(each.numpy().tolist()) for each in schedules)
        self._innermost = schedules[-1]

    @property
    def half_log_snr(self) -> list[float]:
        """Half the log signal-to-noise ratio of the innermost level at indices 0..steps.

        That of the other levels differs from it by a constant.
        """
        return half_log_snr(self._innermost).numpy().tolist()

    def alpha_bar(self, index: Tensor | Sequence[int] | int) -> list[Tensor]:
        """Return the schedule of every level at indices in 0..steps, outermost first."""
        index = index if isinstance(index, int) else torch.as_tensor(index)
        return [schedule[index] for schedule in self.schedules]

    def add_noise(self, images: Sequence[Tensor], eps: Sequence[Tensor], t: Tensor | Sequence[int]) -> list[Tensor]:
        """Add noise at every level.

        Args:
            images: Clean images (rows, channels, height, width) or clips (rows, channels, frames, height, width) by
                level, outermost first. A level may have fewer rows than the batch; they are the first ones.
            eps: Noise in the same shapes.
            t: Time indices (batch,) in 0..steps - 1, as a tensor or a list.
        """
        t = torch.as_tensor(t)
        return [
            add_noise(x, noise, schedule[t[: x.shape[0]] + 1])
            for x, noise, schedule in zip(images, eps, self.schedules, strict=True)
        ]
