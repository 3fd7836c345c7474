"""Variance of samples by the number of steps, for Gaussian data and the exact network; nothing is drawn or trained.

python benchmarks/few_step_variance.py [--schedule cosine] [--variances 0.25 0.01]

For data N(0, c), the posterior mean of x given z is sqrt(g) c z / (g c + 1 - g), so the exact prediction of v is linear
in z, and so is a step without its noise. The variance of samples therefore follows from the factors of the steps alone.
Images in [-1, 1] have c of about 0.25 at low frequencies; the finest detail has much less.
"""

from __future__ import annotations

import argparse
from itertools import pairwise

import torch

from builders.diffusion.process import noise_schedule
from builders.diffusion.steps import ddim_step, ddpm_step
from builders.sampling.sampler import time_indices

STEPS = (10, 20, 50, 100, 250, 500, 1000)


def deviation(sampler: str, steps: int, variance: float, schedule: torch.Tensor) -> float:
    """Return the standard deviation of samples, relative to that of the data.

    Args:
        sampler: "ddpm" or "ddim".
        steps: Number of denoising steps.
        variance: Variance c of the data.
        schedule: ``alpha_bar`` (steps + 1,) of the process.
    """
    one, zero = torch.ones(1, 1, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)
    found = 1.0  # variance of z at the last index
    for t, s in pairwise(time_indices(len(schedule) - 1, steps)):
        g_t, g_s = float(schedule[t]), float(schedule[s])
        x0 = g_t**0.5 * variance / (g_t * variance + 1 - g_t)
        v = (g_t**0.5 - x0) / (1 - g_t) ** 0.5 * one
        if sampler == "ddim":
            factor, added = ddim_step(one, v, g_t, g_s, clip=False)[0], zero
        else:
            factor = ddpm_step(one, v, g_t, g_s, clip=False)[0]
            added = ddpm_step(zero, zero, g_t, g_s, noise=one, clip=False)[0] if s > 0 else zero
        found = factor.item() ** 2 * found + added.item() ** 2
    return (found / variance) ** 0.5


def main() -> None:
    """Print a table of deviations by steps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--schedule", default="cosine", help="Name of the noise schedule.")
    parser.add_argument("--variances", type=float, nargs="+", default=[0.25, 0.01], help="Variances of the data.")
    options = parser.parse_args()
    schedule = noise_schedule(options.schedule).double()
    columns = [(sampler, variance) for sampler in ("ddpm", "ddim") for variance in options.variances]
    print("| steps | " + " | ".join(f"`{sampler}`, c = {variance:g}" for sampler, variance in columns) + " |")
    print("|---|" + "---|" * len(columns))
    for steps in STEPS:
        values = (deviation(sampler, steps, variance, schedule) for sampler, variance in columns)
        print(f"| {steps} | " + " | ".join(f"{value:.3f}" for value in values) + " |")


if __name__ == "__main__":
    main()
