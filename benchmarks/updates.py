"""One update of AdamW, by implementation, of Muon, and of the moving averages: CPU seconds in alternating rounds.

python -m benchmarks.updates
python -m benchmarks.updates --entry mdm-nano --rounds 20
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable

import torch

from builders.networks.nested_unet import build_model
from builders.training.averaging.averages import PowerAverages
from builders.training.ema import EMA
from builders.training.engine.muon import hidden_matrices
from builders.training.optimizers import build_optimizer
from specs.load import load_entry
from specs.schemas.recipe import OptimizerSpec

IMPLEMENTATIONS = {"loop": {"foreach": False, "fused": False}, "foreach": {"foreach": True}, "fused": {"fused": True}}


def updates(entry: str) -> dict[str, Callable[[], object]]:
    """Return the updates to time, by name."""
    model = build_model(load_entry(entry).graph)
    found: dict[str, Callable[[], object]] = {}
    for name, options in IMPLEMENTATIONS.items():
        parameters = list(copy.deepcopy(model).parameters())
        for parameter in parameters:
            parameter.grad = torch.randn_like(parameter)
        found[f"AdamW {name}"] = build_optimizer(OptimizerSpec(options=options), parameters, 1e-3).step
    for name in ("muon", "timm:muon"):
        named = list(copy.deepcopy(model).named_parameters())
        parameters = [parameter for _, parameter in named]
        for parameter in parameters:
            parameter.grad = torch.randn_like(parameter)
        matrices = hidden_matrices([each for each, _ in named], parameters)
        found[name] = build_optimizer(OptimizerSpec(name=name), parameters, 1e-3, matrices=matrices).step
    power = PowerAverages(model, {length: copy.deepcopy(model) for length in (0.05, 0.1)}, 0)
    found["two power averages"] = lambda: power.update(100)
    average, flagged, looped = (EMA(model, 0.99) for _ in range(3))
    pairs = list(zip(looped.model.parameters(), model.parameters(), strict=True))

    @torch.no_grad()
    def loop() -> None:
        for mean, weight in pairs:
            mean.mul_(0.99).add_(weight, alpha=0.01)

    found |= {"EMA loop": loop, "EMA": lambda: average.update(100)}
    found["EMA with a flag"] = lambda: flagged.update(100, torch.tensor(True))
    return found


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entry", default="mdm-nano")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    torch.set_num_threads(1)
    seconds: dict[str, list[float]] = {}
    calls = updates(options.entry)
    for _ in range(options.rounds + 1):
        for name, call in calls.items():
            began = time.process_time()
            call()
            seconds.setdefault(name, []).append(time.process_time() - began)
    print(f"{options.entry}, torch {torch.__version__}, one thread")
    for name, each in seconds.items():
        median, *ends = (1e3 * value for value in (statistics.median(each[1:]), min(each[1:]), max(each[1:])))
        print(f"{name:18} {median:8.2f} ms, {ends[0]:.2f} to {ends[1]:.2f}")


if __name__ == "__main__":
    main()
