"""What one generated sample costs: by sampler, steps and guidance, from the blocks' rules; nothing is built."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import get_args

from registry.costs.totals import EntryCosts, count
from specs.errors import did_you_mean
from specs.graph import EntryGraph
from specs.schemas.evaluation import EvaluationSpec

__all__ = ["SAMPLERS", "SamplingCost", "sampling_cost"]

SAMPLERS: tuple[str, ...] = get_args(EvaluationSpec.model_fields["sampler"].annotation)


@dataclass(frozen=True, slots=True)
class SamplingCost:
    """The cost of one generated sample of all levels.

    ``evaluations`` counts passes of one sample through the network: a guided step takes two, with the condition and
    without. ``flops`` are two a MAC, the encoding of the condition included.
    """

    sampler: str
    num_inference_steps: int
    guidance_scale: float
    evaluations: int
    flops: int

    @property
    def title(self) -> str:
        """The settings in a line: ``dpm++, 20 steps, guidance 3: 40 evaluations of the network``."""
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
    """The cost of a sample, counted as :func:`builders.sampling.sampler.sample` draws it.

    DDIM, DDPM and DPM-Solver++ (2M) evaluate the network once a step, or twice with guidance. A scale of 1 or 0 needs
    one side alone, and an entry without text and classes has nothing to be guided by.

    Args:
        graph: a checked entry.
        sampler: "ddim", "ddpm" or "dpm++".
        num_inference_steps: from 1 to the steps of the entry's process.
        guidance_scale: of classifier-free guidance; 1 is none.
        guidance_interval: the shares of time, from 0, clean, to 1, noise, in which there is guidance.

    Raises:
        ValueError: a setting out of range.
    """
    if sampler not in SAMPLERS:
        raise ValueError(f"no sampler {sampler!r}{did_you_mean(sampler, SAMPLERS)}; there are {', '.join(SAMPLERS)}")
    total, count_steps = graph.process.steps, num_inference_steps
    if not 1 <= count_steps <= total:
        raise ValueError(f"{graph.name} is sampled in 1 to {total:,} steps, not {count_steps:,}")
    if not math.isfinite(guidance_scale):
        raise ValueError(f"guidance is a finite number, not {guidance_scale}")
    conditioned = graph.text is not None or graph.classes is not None
    scale = guidance_scale if conditioned else 1.0
    evaluations, encodings = count_steps, 1
    if scale not in (0, 1):
        low, high = guidance_interval
        times = [round(total * (count_steps - number) / count_steps) for number in range(count_steps)]
        evaluations += sum(low <= time / total <= high for time in times)
        encodings = 2
    return SamplingCost(sampler, count_steps, scale, evaluations, _flops(count(graph), evaluations, encodings))


def _flops(costs: EntryCosts, evaluations: int, encodings: int) -> int:
    return 2 * (evaluations * costs.total.macs + encodings * costs.total.encode_macs)
