"""One update of Muon by processes that divide its matrices, and that each compute all, in alternating rounds.

OMP_NUM_THREADS=1 torchrun --nproc-per-node 2 -m benchmarks.shared_updates
OMP_NUM_THREADS=1 torchrun --nproc-per-node 2 -m benchmarks.shared_updates --set nest.nest.stages.r8.width=128
"""

from __future__ import annotations

import argparse
import statistics
import time
from unittest.mock import patch

import torch
from torch import distributed

from builders.networks.nested_unet import build_model
from builders.training.engine.muon import hidden_matrices
from builders.training.optimizers import build_optimizer
from specs.load import load_entry
from specs.schemas.recipe import OptimizerSpec


def main() -> None:
    """Print a row for each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entry", default="mdm-nano")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="Overrides of the entry.")
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    distributed.init_process_group("gloo")
    model = build_model(load_entry(options.entry, overrides=options.set).graph)
    named = list(model.named_parameters())
    parameters = [parameter for _, parameter in named]
    for parameter in parameters:
        parameter.grad = torch.randn_like(parameter)
    matrices = hidden_matrices([name for name, _ in named], parameters)
    update = build_optimizer(OptimizerSpec(name="muon"), parameters, 1e-3, matrices=matrices).step
    seconds: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(options.rounds + 1):
        for divided, found in seconds.items():
            distributed.barrier()
            began = time.perf_counter()
            with patch.object(distributed, "is_initialized", return_value=divided):
                update()
            found.append(time.perf_counter() - began)
    if distributed.get_rank() == 0:
        weights = sum(parameter.numel() for parameter, matrix in zip(parameters, matrices, strict=True) if matrix)
        print(f"{options.entry}, {weights:,} weights in matrices, {distributed.get_world_size()} processes")
        medians = [1e3 * statistics.median(found[1:]) for found in seconds.values()]
        print(
            f"each computes all {medians[0]:.1f} ms, divided {medians[1]:.1f} ms, ratio {medians[0] / medians[1]:.2f}"
        )
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
