"""CPU time of a sampling step for one sample, by the number of samples that are denoised at once.

OMP_NUM_THREADS=1 python -m benchmarks.sampling_rows mdm-nano mdm-nano-v
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch

from builders.diffusion.process import DiffusionProcess
from builders.networks.nested_unet import build_model
from builders.sampling.sampler import sample
from specs.load import load_entry
from specs.schemas.sampling import SamplerSettings

ROWS = (1, 2, 4, 8, 16, 32, 64)
STEPS = 2


def seconds(model: torch.nn.Module, process: DiffusionProcess, context: object, rows: int) -> float:
    """Return the CPU seconds of a step for one sample."""
    settings = SamplerSettings("dpm++", STEPS)
    started = time.process_time()
    sample(model, context, process, settings, seeds=range(rows))  # type: ignore[arg-type]
    return (time.process_time() - started) / rows / STEPS


def main() -> None:
    """Print the median of each number of rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("entries", nargs="+", help="Entries to sample, with random weights.")
    parser.add_argument("--rounds", type=int, default=3, help="Rounds, in each of which all sizes take turns.")
    options = parser.parse_args()
    for name in options.entries:
        model = build_model(load_entry(name).graph).eval()
        process = DiffusionProcess(model.graph)
        with torch.no_grad():
            context = model.encode()
        seconds(model, process, context, 1)
        found: dict[int, list[float]] = {rows: [] for rows in ROWS}
        for _ in range(options.rounds):
            for rows in ROWS:
                found[rows].append(seconds(model, process, context, rows))
        for rows, values in found.items():
            low, middle, high = min(values), statistics.median(values), max(values)
            print(f"{name}, {rows} rows: {1e3 * middle:.2f} ms ({1e3 * low:.2f} to {1e3 * high:.2f})", flush=True)


if __name__ == "__main__":
    main()
