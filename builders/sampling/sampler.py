"""Sampling: reverse steps on all levels at once, with classifier-free guidance and seeds of one's own per sample."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypedDict

import torch
from torch import Tensor, nn

from builders.diffusion.process import DiffusionProcess
from builders.diffusion.steps import ddim_step, ddpm_step, dpm_solver_step
from builders.networks.conditioning import Context
from specs.graph import time_indices

__all__ = ["METHODS", "Progress", "initial_noise", "sample", "time_indices"]

Method = Literal["ddim", "ddpm", "dpm++"]
METHODS: tuple[Method, ...] = ("ddim", "ddpm", "dpm++")
#: Called after each step with its number from 1, the number of steps, and the clean images predicted at every level.
Progress = Callable[[int, int, list[Tensor]], None]


@torch.no_grad()
def sample(
    model: nn.Module,
    context: Context,
    process: DiffusionProcess,
    *,
    seeds: Sequence[int],
    unconditional: Context | None = None,
    method: Method = "ddim",
    num_inference_steps: int = 50,
    guidance_scale: float = 1.0,
    guidance_interval: tuple[float, float] = (0.0, 1.0),
    eta: float = 0.0,
    clip: bool = True,
    dynamic_threshold: float | None = None,
    progress: Progress | None = None,
) -> list[Tensor]:
    """Draw images at every level of a model, one for each seed.

    A sample depends on its seed and its row of the context, not on the others of its batch: each has generators of its
    own, on the CPU, so that a seed gives the same noise on every device.

    Args:
        model: called as ``model(z, t, context)``; its ``graph`` gives the levels. Put in evaluation mode meanwhile.
        context: of as many rows as there are seeds, or of one.
        process: the entry's process; on the model's device or on the CPU.
        seeds: one a sample.
        unconditional: context without conditions, for guidance; of as many rows, or of one.
        method: "ddim"; "ddpm" for the posterior of each step (over skipped ones too, with fewer than all steps); or
            "dpm++" for DPM-Solver++ (2M), which needs fewer steps.
        num_inference_steps: steps, spread evenly over the schedule.
        guidance_scale: w in ``v(none) + w (v(context) - v(none))``; 1 is no guidance (arXiv 2207.12598).
        guidance_interval: the part of the schedule in which there is guidance, as shares of its time from 0, clean, to
            1, noise, both included; elsewhere the context alone steers, in one pass (arXiv 2404.07724).
        eta: noise of "ddim", from 0 (none) to 1.
        clip: limit predicted clean images to [-1, 1].
        dynamic_threshold: quantile by which they are limited instead, such as 0.995 (arXiv 2205.11487).
        progress: told after every step; the images it is given preview every level.

    Returns:
        Images (samples, channels, height, width) float32 of every level, highest resolution first; in [-1, 1] unless
        ``clip`` is off.

    Raises:
        ValueError: an argument out of range, or guidance without an unconditional context.
    """
    _check(method, guidance_scale, guidance_interval, unconditional, eta)
    _check_limits(clip, dynamic_threshold)
    indices = time_indices(process.steps, num_inference_steps)
    parameter = next(model.parameters())
    generators = [_generators(seed, len(process.graph.levels)) for seed in seeds]
    z = initial_noise(process, generators, parameter.device)
    context = context.expand(len(seeds)) if context.rows == 1 else context
    first, last = guidance_interval
    guided = _Guided(model, context, unconditional, guidance_scale, parameter.dtype)
    step = _Step(method, {"ddpm": 1.0, "dpm++": 0.0}.get(method, eta), clip, dynamic_threshold)
    before: list[_Before | None] = [None] * len(z)
    with _evaluating(model):
        for number, (t, s) in enumerate(pairwise(indices), 1):
            # The network counts from 0 where the schedule counts from 1.
            v = guided.predict(z, t - 1) if first <= t / process.steps <= last else guided.predict_unguided(z, t - 1)
            noise: Sequence[Tensor | None] = [None] * len(z)
            if step.eta > 0 and s > 0:
                noise = initial_noise(process, generators, parameter.device)
            g_t, g_s = ([g[time].to(parameter.device) for g in process.schedules] for time in (t, s))
            found = [step(*level) for level in zip(z, v, g_t, g_s, noise, before, strict=True)]
            z, clean = [each[0] for each in found], [each[1] for each in found]
            before = list(zip(clean, g_t, strict=True))
            if progress is not None:
                progress(number, num_inference_steps, clean)
    return z


#: The clean image that a level's last step predicted, and alpha_bar there.
_Before = tuple[Tensor, Tensor]


@dataclass(frozen=True, slots=True)
class _Step:
    """One reverse step of a level: to the next ``z``, and the clean image predicted on the way."""

    method: str
    eta: float
    clip: bool
    dynamic_threshold: float | None

    def __call__(
        self, z: Tensor, v: Tensor, g_t: Tensor, g_s: Tensor, noise: Tensor | None, before: _Before | None
    ) -> tuple[Tensor, Tensor]:
        limits: _Limits = {"clip": self.clip, "dynamic_threshold": self.dynamic_threshold}
        if self.method == "dpm++":
            return dpm_solver_step(z, v, g_t, g_s, before, **limits)
        if self.method == "ddpm":
            return ddpm_step(z, v, g_t, g_s, noise=noise, **limits)
        return ddim_step(z, v, g_t, g_s, eta=0.0 if noise is None else self.eta, noise=noise, **limits)


class _Limits(TypedDict):
    clip: bool
    dynamic_threshold: float | None


def initial_noise(
    process: DiffusionProcess, generators: Sequence[Sequence[torch.Generator]], device: torch.device | str
) -> list[Tensor]:
    """Standard normal noise (samples, channels, height, width) for every level; row i from ``generators[i]``."""
    return [
        torch.stack(
            [torch.randn(spec.channels, spec.resolution, spec.resolution, generator=row[level]) for row in generators]
        ).to(device)
        for level, spec in enumerate(process.graph.levels)
    ]


def _generators(seed: int, levels: int) -> list[torch.Generator]:
    """Generators of one sample, outermost level first; a level's does not depend on how many stand around it."""
    return [torch.Generator().manual_seed((seed * 0x9E3779B1 + depth) % 2**63) for depth in reversed(range(levels))]


class _Guided:
    """Predictions with classifier-free guidance: one forward of both contexts, or two where they cannot be joined."""

    def __init__(
        self, model: nn.Module, context: Context, unconditional: Context | None, scale: float, dtype: torch.dtype
    ) -> None:
        self.model, self.scale, self.dtype = model, scale, dtype
        self.context, self.unconditional, self.both = context, unconditional, None
        if unconditional is None or scale in (0, 1):
            return
        self.unconditional = unconditional.expand(context.rows) if unconditional.rows == 1 else unconditional
        with suppress(ValueError):  # prompts of different lengths
            self.both = Context.cat([context, self.unconditional])

    def predict_unguided(self, z: list[Tensor], t: int) -> list[Tensor]:
        """What the context says."""
        return self._run(z, t, self.context)

    def predict(self, z: list[Tensor], t: int) -> list[Tensor]:
        """What the context says, further away from what is said without it."""
        if self.unconditional is None or self.scale == 1:
            return self._run(z, t, self.context)
        if self.scale == 0:
            return self._run(z, t, self.unconditional)
        if self.both is not None:
            joined = self._run([torch.cat([level, level]) for level in z], t, self.both)
            pairs = [level.chunk(2) for level in joined]
        else:
            found = (self._run(z, t, self.context), self._run(z, t, self.unconditional))
            pairs = list(zip(*found, strict=True))
        return [without + self.scale * (with_ - without) for with_, without in pairs]

    def _run(self, z: list[Tensor], t: int, context: Context) -> list[Tensor]:
        return [level.float() for level in self.model([level.to(self.dtype) for level in z], t, context)]


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode within; afterwards every module is in the mode it was in."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def _check(
    method: str,
    scale: float,
    interval: tuple[float, float],
    unconditional: Context | None,
    eta: float,
) -> None:
    if method not in METHODS:
        raise ValueError(f"no sampler {method!r}; there are {', '.join(METHODS)}")
    if not math.isfinite(scale):
        raise ValueError(f"guidance_scale must be a finite number, not {scale}")
    if scale != 1 and unconditional is None:
        raise ValueError(f"guidance of {scale} needs an unconditional context")
    if not 0 <= interval[0] <= interval[1] <= 1:
        raise ValueError(
            f"guidance_interval is a part of the time from 0, clean, to 1, noise, not {interval[0]} to {interval[1]}"
        )
    if not 0 <= eta <= 1:
        raise ValueError(f"eta must be from 0 to 1, not {eta}")
    if eta and method != "ddim":
        raise ValueError(f"eta is the noise of ddim; {method} has none to choose")


def _check_limits(clip: bool, dynamic_threshold: float | None) -> None:
    if dynamic_threshold is not None and not clip:
        raise ValueError("a dynamic_threshold is a way to clip, which is turned off")
    if dynamic_threshold is not None and not 0 < dynamic_threshold <= 1:
        raise ValueError(f"dynamic_threshold is a quantile between 0 and 1, not {dynamic_threshold}")
