"""The cost of one generated sample, by sampler, steps and guidance, from the blocks' rules; nothing is built."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from registry.costs.totals import count
from specs.graph import EntryGraph
from specs.schemas.sampling import SAMPLERS, SamplerSettings, SamplerSpec, time_indices

__all__ = ["SAMPLERS", "SamplingCost", "sampling_cost"]


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


def sampling_cost(graph: EntryGraph, *args: Any, **settings: Any) -> SamplingCost:
    """Return the cost of a sample, counted as :func:`builders.sampling.sampler.sample` draws it.

    DDIM, DDPM and DPM-Solver++ (2M) evaluate the network once per step, or twice with guidance. A scale of 0 or 1
    needs one pass only, and an entry without text and classes cannot be guided.

    Args:
        graph: Checked graph of the entry.
        *args: Fields of :class:`specs.schemas.sampling.SamplerSettings` in their order.
        **settings: Fields of :class:`specs.schemas.sampling.SamplerSettings` by name.

    Raises:
        ValueError: A setting is out of range.
    """
    chosen = SamplerSettings(*args, **settings).fitted(graph.process.steps)
    scale = chosen.guidance_scale if graph.conditions else 1.0
    evaluations, encodings = chosen.num_inference_steps, 1
    if scale not in (0, 1):
        evaluations += _guided(graph, chosen)
        encodings = 2
    total = count(graph).total
    flops = 2 * (evaluations * total.macs + encodings * total.encode_macs)
    return SamplingCost(chosen.sampler, chosen.num_inference_steps, scale, evaluations, flops)


def _guided(graph: EntryGraph, settings: SamplerSpec) -> int:
    """Return the number of guided steps."""
    steps, count = graph.process.steps, settings.num_inference_steps
    if settings.guidance_interval == (0.0, 1.0):
        return count
    if settings.spacing == "index":
        times = time_indices(steps, count)
    else:
        from builders.diffusion.process import DiffusionProcess  # imports torch, for the schedule

        times = settings.times(DiffusionProcess(graph).half_log_snr)
    return sum(settings.guides_at(time / steps) for time in times[:-1])
