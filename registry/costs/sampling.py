"""The cost of one generated sample, by sampler, steps and guidance, from the blocks' rules; nothing is built."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import get_args

from registry.costs.totals import count
from specs.errors import did_you_mean
from specs.graph import EntryGraph, time_indices
from specs.schemas.evaluation import EvaluationSpec

__all__ = ["SAMPLERS", "SamplingCost", "sampling_cost"]

SAMPLERS: tuple[str, ...] = get_args(EvaluationSpec.model_fields["sampler"].annotation)


@dataclass(frozen=True, slots=True)
class SamplingCost:
    """The cost of one generated sample, all levels together.

    Attributes:
        sampler: Name of the sampler.
        num_inference_steps: Number of denoising steps.
        guidance_scale: Scale of classifier-free guidance; 1 is no guidance.
        evaluations: Forward passes of one sample. A guided step takes two: with the condition and without.
        flops: FLOPs of all passes and of encoding the condition, two per MAC.
    """

    sampler: str
    num_inference_steps: int
    guidance_scale: float
    evaluations: int
    flops: int

    @property
    def title(self) -> str:
        """The settings in one line: ``dpm++, 20 steps, guidance 3: 40 evaluations of the network``."""
        guidance = f", guidance {self.guidance_scale:g}" if self.guidance_scale != 1 else ""
        settings = f"{self.sampler}, {self.num_inference_steps} step{'s' * (self.num_inference_steps != 1)}{guidance}"
        return f"{settings}: {self.evaluations} evaluation{'s' * (self.evaluations != 1)} of the network"


def sampling_cost(
    graph: EntryGraph,
    sampler: str = "ddim",
    num_inference_steps: int = 50,
    guidance_scale: float = 1.0,
    guidance_interval: tuple[float, float] = (0.0, 1.0),
) -> SamplingCost:
    """Return the cost of a sample, counted as :func:`builders.sampling.sampler.sample` draws it.

    DDIM, DDPM and DPM-Solver++ (2M) evaluate the network once per step, or twice with guidance. A scale of 0 or 1
    needs one pass only, and an entry without text and classes cannot be guided.

    Args:
        graph: Checked graph of the entry.
        sampler: Name of the sampler: ``ddim``, ``ddpm`` or ``dpm++``.
        num_inference_steps: Number of denoising steps, from 1 to the steps of the entry's process.
        guidance_scale: Scale of classifier-free guidance; 1 is no guidance.
        guidance_interval: Part of the schedule with guidance, as fractions of time from 0 (clean) to 1 (noise).

    Raises:
        ValueError: A setting is out of range.
    """
    if sampler not in SAMPLERS:
        raise ValueError(f"no sampler {sampler!r}{did_you_mean(sampler, SAMPLERS)}; choose from {', '.join(SAMPLERS)}")
    *times, _ = time_indices(graph.process.steps, num_inference_steps)
    if not math.isfinite(guidance_scale):
        raise ValueError(f"guidance_scale must be a finite number, not {guidance_scale}")
    scale = guidance_scale if graph.conditions else 1.0
    evaluations, encodings = len(times), 1
    if scale not in (0, 1):
        low, high = guidance_interval
        evaluations += sum(low <= time / graph.process.steps <= high for time in times)
        encodings = 2
    total = count(graph).total
    flops = 2 * (evaluations * total.macs + encodings * total.encode_macs)
    return SamplingCost(sampler, num_inference_steps, scale, evaluations, flops)
