"""The sampling loop: reverse steps on all levels at once, with classifier-free guidance and a seed per sample."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from builders.diffusion.offset_noise import add_offset
from builders.diffusion.predictions import v_from
from builders.diffusion.process import DiffusionProcess
from builders.diffusion.residual import add_inner_predictions
from builders.diffusion.shared_noise import share_z
from builders.diffusion.steps import Memory, ddim_step, ddpm_step, dpm_solver_step
from builders.networks.conditioning import Context
from builders.precision import autocast, pick_precision
from specs.graph import EntryGraph
from specs.schemas.sampling import SAMPLERS as METHODS
from specs.schemas.sampling import SamplerSettings, SamplerSpec, time_indices

__all__ = ["METHODS", "Progress", "initial_noise", "sample", "time_indices"]

#: Called after each step with its number from 1, the number of steps, and the clean images predicted at every level.
Progress = Callable[[int, int, list[Tensor]], None]


@dataclass(slots=True)
class LevelState:
    """One level during sampling.

    Attributes:
        z: Noisy images (samples, channels, height, width) or clips (samples, channels, frames, height, width).
        alpha_bar: Schedule (steps + 1,) of the level, index 0 clean.
        numbers: The same as numbers of the host.
        generators: Source of noise of each sample.
        previous: Clean images predicted in the step before, in the shape of ``z``, and the schedule there.
        offset: Strength of the offset noise of the process.
    """

    z: Tensor
    alpha_bar: Tensor
    numbers: Sequence[float]
    generators: Sequence[torch.Generator]
    previous: Memory | None = None
    offset: float = 0.0

    def noise(self) -> Tensor:
        """Draw the noise of the process in the shape of ``z``."""
        return _noise(self.generators, self.z.shape[1:], self.z.device, self.offset)


def sample(
    model: nn.Module,
    context: Context,
    process: DiffusionProcess,
    settings: SamplerSpec | None = None,
    *,
    seeds: Sequence[int],
    unconditional: Context | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> list[Tensor]:
    """Draw images or clips at every level of a model, one per seed.

    A sample depends on its seed and its row of the context, not on the rest of its batch. Each sample has its own
    random generators, on the CPU, so that a seed gives the same noise on every device.

    Args:
        model: Network, called as ``model(z, t, context)``. It is in evaluation mode during sampling.
        context: Conditions, with one row per seed or a single row.
        process: Diffusion process of the entry.
        settings: Sampler, steps, guidance and limits. Default: ``SamplerSettings()``.
        seeds: One seed per sample.
        unconditional: Context without conditions, needed for guidance; one row per seed or a single row. The guided
            prediction is ``v(none) + w (v(context) - v(none))`` with guidance scale w (arXiv 2207.12598), at the times
            in the guidance interval (arXiv 2404.07724); elsewhere it is ``v(context)``, in one pass. Predictions of
            eps, x or flow are guided in the same way, which is the same.
        progress: Called after every step.
        **options: Fields of :class:`specs.schemas.sampling.SamplerSettings` by name, instead of ``settings``.
            ``method`` is accepted for ``sampler``.

    Returns:
        Images (samples, channels, height, width), or clips (samples, channels, frames, height, width), float32, of
        every level, outermost first, in [-1, 1] unless ``clip`` is off.

    Raises:
        ValueError: A setting is out of range, a seed is no whole number, there are no seeds, or there is guidance
            without an unconditional context.
    """
    if settings is None:
        options = {"sampler" if name == "method" else name: value for name, value in options.items()}
        settings = SamplerSettings(**options)
    elif options:
        raise TypeError(f"sample takes settings or their fields by name, not both: {', '.join(options)}")
    settings = settings.fitted(process.steps)
    if settings.guidance_scale != 1 and unconditional is None:
        raise ValueError(f"guidance of {settings.guidance_scale} needs an unconditional context")
    seeds = _whole(seeds)
    times = settings.times(process.half_log_snr)
    device = next(model.parameters()).device
    precision = pick_precision(settings.precision, device)
    levels = _start(process, seeds, device)
    own = [level.z for level in levels]
    _share(levels, own, times[0], process.graph)
    predict = _Guided(model, context, unconditional, settings.guidance_scale, len(seeds))
    step, kind = STEPS[settings.sampler], process.graph.process.prediction
    with torch.no_grad(), _evaluating(model):
        for number, (t, s) in enumerate(pairwise(times), 1):
            # The network counts time from 0 where the schedule counts from 1.
            with autocast(device, precision):
                found = predict([level.z for level in levels], t - 1, guided=settings.guides_at(t / process.steps))
            z, shares = [level.z for level in levels], [level.alpha_bar[t] for level in levels]
            found = add_inner_predictions(found, z, process.graph, shares)
            v = [v_from(kind, *each) for each in zip(z, found, shares, strict=True)]
            clean = []
            for level, v_level in zip(levels, v, strict=True):
                level.z, x0 = step(level, v_level, t, s, settings)
                level.previous = x0, level.numbers[t]
                clean.append(x0)
            _share(levels, own, s, process.graph)
            if progress is not None:
                progress(number, settings.num_inference_steps, clean)
    return [level.z for level in levels]


def _share(levels: Sequence[LevelState], own: Sequence[Tensor], index: int, graph: EntryGraph) -> None:
    """Give inner levels what they see of the noisy image around them, if the levels of the entry share their noise.

    The levels inside add nothing to what the outermost one knows, so its steps alone are those of the reverse process.
    """
    z = share_z([level.z for level in levels], own, graph, [level.alpha_bar[index] for level in levels])
    for level, each in zip(levels, z, strict=True):
        level.z = each


def _whole(seeds: Sequence[int]) -> list[int]:
    try:
        found = [operator.index(seed) for seed in seeds]
    except TypeError:
        raise ValueError("seeds are whole numbers, one per sample") from None
    if not found:
        raise ValueError("there are no seeds: one is needed for each sample")
    return found


def _ddim(level: LevelState, v: Tensor, t: int, s: int, settings: SamplerSpec) -> tuple[Tensor, Tensor]:
    """Take a DDIM step from index t to s, with noise if ``eta`` is above 0; return the new z and the clean images."""
    noisy = settings.eta > 0 and s > 0
    return ddim_step(
        level.z,
        v,
        level.alpha_bar[t],
        level.alpha_bar[s],
        eta=settings.eta if noisy else 0.0,
        noise=level.noise() if noisy else None,
        clip=settings.clip,
        dynamic_threshold=settings.dynamic_threshold,
    )


def _ddpm(level: LevelState, v: Tensor, t: int, s: int, settings: SamplerSpec) -> tuple[Tensor, Tensor]:
    """Take a step of the DDPM posterior, with noise in all but the last one."""
    return ddpm_step(
        level.z,
        v,
        level.alpha_bar[t],
        level.alpha_bar[s],
        noise=level.noise() if s > 0 else None,
        clip=settings.clip,
        dynamic_threshold=settings.dynamic_threshold,
    )


def _dpm_solver(level: LevelState, v: Tensor, t: int, s: int, settings: SamplerSpec) -> tuple[Tensor, Tensor]:
    """Take a step of DPM-Solver++ (2M), which extrapolates from the step before and adds no noise."""
    return dpm_solver_step(
        level.z,
        v,
        level.numbers[t],
        level.numbers[s],
        level.previous,
        clip=settings.clip,
        dynamic_threshold=settings.dynamic_threshold,
    )


STEPS = {"ddim": _ddim, "ddpm": _ddpm, "dpm++": _dpm_solver}


class _Guided:
    """The network with classifier-free guidance: v(none) + scale (v(context) - v(none))."""

    def __init__(
        self, model: nn.Module, context: Context, unconditional: Context | None, scale: float, rows: int
    ) -> None:
        self.model, self.scale, self.dtype = model, scale, next(model.parameters()).dtype
        self.context, self.unconditional = context.expand(rows), unconditional
        self.joined: Context | None = None
        if unconditional is not None and scale not in (0, 1):
            self.unconditional = unconditional.expand(rows)
            with suppress(ValueError):  # prompts of different lengths cannot be joined
                self.joined = Context.cat([self.context, self.unconditional])

    def __call__(self, z: list[Tensor], t: int, *, guided: bool) -> list[Tensor]:
        """Return the prediction of every level, float32, in one forward of both contexts if they can be joined."""
        if not guided or self.scale == 1 or self.unconditional is None:
            return self._run(z, t, self.context)
        if self.scale == 0:
            return self._run(z, t, self.unconditional)
        if self.joined is not None:
            both = self._run([torch.cat([level, level]) for level in z], t, self.joined)
            pairs = [level.chunk(2) for level in both]
        else:
            pairs = list(zip(self._run(z, t, self.context), self._run(z, t, self.unconditional), strict=True))
        return [without + self.scale * (with_ - without) for with_, without in pairs]

    def _run(self, z: list[Tensor], t: int, context: Context) -> list[Tensor]:
        return [level.float() for level in self.model([level.to(self.dtype) for level in z], t, context)]


def _start(process: DiffusionProcess, seeds: Sequence[int], device: torch.device) -> list[LevelState]:
    """Return the levels, outermost first, at the last index of the schedule: pure noise."""
    generators = [_generators(seed, len(process.schedules)) for seed in seeds]
    noise, offset = initial_noise(process, generators, device), process.graph.process.offset
    return [
        LevelState(z, alpha_bar.to(device), numbers, [row[index] for row in generators], offset=offset)
        for index, (z, alpha_bar, numbers) in enumerate(zip(noise, process.schedules, process.numbers, strict=True))
    ]


def initial_noise(
    process: DiffusionProcess, generators: Sequence[Sequence[torch.Generator]], device: torch.device | str
) -> list[Tensor]:
    """Draw the noise of every level, outermost first: standard normal, with the offset of the process.

    It has the shape (samples, channels, height, width), or (samples, channels, frames, height, width) for clips.

    Args:
        process: Diffusion process of the entry.
        generators: For each sample, one generator per level.
        device: Device of the result.
    """
    offset = process.graph.process.offset
    return [
        _noise([row[index] for row in generators], (level.channels, *level.size.shape), device, offset)
        for index, level in enumerate(process.graph.levels)
    ]


def _noise(
    generators: Sequence[torch.Generator], shape: Sequence[int], device: torch.device | str, offset: float
) -> Tensor:
    rows = [add_offset(torch.randn(tuple(shape), generator=each), offset, each) for each in generators]
    return torch.stack(rows).to(device)


def _generators(seed: int, levels: int) -> list[torch.Generator]:
    """Return the generators of one sample, outermost level first; a level's does not depend on the levels around it."""
    return [torch.Generator().manual_seed((seed * 0x9E3779B1 + depth) % 2**63) for depth in reversed(range(levels))]


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Put the model in evaluation mode, and every module back into its own mode afterwards."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
