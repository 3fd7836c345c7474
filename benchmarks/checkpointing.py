"""Memory and time of a training step of a 128/64 network, with and without activation checkpointing.

OMP_NUM_THREADS=1 python -m benchmarks.checkpointing
"""

from __future__ import annotations

import statistics
import time
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.suite.measuring import Alive, saved_bytes
from builders.networks.nested_unet import NestedUNet, build_model
from registry.costs.memory import activation_memory
from specs.load import load_text

ENTRY = """
name: two-levels
resolution: 128
stages:
  r128: {width: 32}
  r64: {width: 64}
nest:
  resolution: 64
  stages:
    r64: {width: 64}
    r32: {width: 128}
    r16: {width: 128, attention: 1}
"""
ROUNDS = 3
MIB = 2**20


def loss(model: NestedUNet) -> Tensor:
    """Compute a loss of one sample."""
    torch.manual_seed(0)
    z = [torch.randn(1, 3, side, side) for side in (128, 64)]
    return sum((each.square().mean() for each in model(z, 500)), torch.zeros(()))


def step(model: NestedUNet) -> None:
    """Compute the gradients of one sample."""
    model.zero_grad(set_to_none=False)
    loss(model).backward()


def main() -> None:
    """Print what is saved for the backward pass, the peak of tensors beside weights, and the time, by levels."""
    graph = load_text(ENTRY).graph
    model = build_model(graph).train()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    step(model)
    rule, _ = activation_memory(graph)
    print(f"rule: {rule.training / MIB:.0f} MiB, checkpointed {rule.checkpointed / MIB:.0f} MiB")
    choices: tuple[tuple[str, ...], ...] = ((), ("r128",), ("r128", "r64"))
    peaks: dict[Any, int] = {}
    saved: dict[Any, int] = {}
    seconds: dict[Any, list[float]] = {labels: [] for labels in choices}
    for round_ in range(ROUNDS + 1):
        for labels in choices:
            model.checkpoint(labels)
            if round_ == 0:
                with Alive() as alive:
                    step(model)
                peaks[labels], saved[labels] = alive.peak, saved_bytes(partial(loss, model), model.parameters())
                continue
            begun = time.process_time()
            step(model)
            seconds[labels].append(time.process_time() - begun)
    for labels in choices:
        spent = statistics.median(seconds[labels])
        times = f"{spent:.2f} s ({spent / statistics.median(seconds[()]):.2f})"
        memory = [f"{each[labels] / MIB:.0f} MiB ({each[labels] / each[()]:.2f})" for each in (saved, peaks)]
        print(f"{', '.join(labels) or 'none'}: saved {memory[0]}, peak {memory[1]}, {times}")


if __name__ == "__main__":
    main()
