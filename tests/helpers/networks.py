"""Networks with random weights, and inputs for them."""

from __future__ import annotations

import torch


def randomise(model, seed=0):
    """Give every parameter a random value: fresh networks predict zeros, which would prove nothing."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            fan_in = parameter[0].numel() if parameter.dim() > 1 else 16
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / fan_in**0.5)
    return model.eval()


def noise(graph, rows, seed=1):
    """Inputs of a network's levels, of ``rows`` rows, or as many as a list says for each level."""
    generator = torch.Generator().manual_seed(seed)
    rows = [rows] * len(graph.levels) if isinstance(rows, int) else rows
    return [
        torch.randn(count, 3, *level.size.shape, generator=generator)
        for count, level in zip(rows, graph.levels, strict=True)
    ]
