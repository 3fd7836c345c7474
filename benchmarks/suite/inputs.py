"""Entries that are measured, and inputs for them that come from no file."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from builders.training.batches import Batch
from specs.graph import EntryGraph
from specs.load import load_entry, load_text

__all__ = ["TWO_LEVELS", "RandomText", "conditions", "graph_of", "random_batch", "randomized"]

#: A network of 128 and 64 pixels with text, between the small entries and the full-size ones.
TWO_LEVELS = """
name: two-levels
resolution: 128
stages:
  r128: {width: 32}
  r64: {width: 64}
nest:
  resolution: 64
  inputs: {text: {width: 512, tokens: 64, project: 512}}
  stages:
    r64: {width: 64}
    r32: {width: 128, attention: 1}
    r16: {width: 128, attention: 1}
"""


class RandomText:
    """A text encoder that returns random states, all tokens valid."""

    def __init__(self, width: int, tokens: int, device: torch.device) -> None:
        generator = torch.Generator().manual_seed(3)
        self.states = torch.randn(1, tokens, width, generator=generator).to(device)

    def __call__(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        states = self.states.expand(len(captions), -1, -1)
        return states, torch.ones(states.shape[:2], dtype=torch.bool, device=states.device)


def graph_of(name: str) -> EntryGraph:
    """Return the graph of an entry, or of ``two-levels``. The plain script predicts whole images, so both do."""
    if name == "two-levels":
        return load_text(TWO_LEVELS).graph
    graph = load_entry(name).graph
    return graph if graph.process.residual is None else load_entry(name, overrides=["process.residual=null"]).graph


def randomized(model: nn.Module, seed: int = 0) -> nn.Module:
    """Give every parameter a random value: fresh networks predict zeros."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            fan_in = parameter[0].numel() if parameter.dim() > 1 else 16
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / fan_in**0.5)
    return model


def random_batch(graph: EntryGraph, rows: int, device: torch.device | str) -> Batch:
    """Return a batch of noise for every level, and random conditions."""
    generator = torch.Generator().manual_seed(1)
    shapes = [(rows, level.channels, *level.size.shape) for level in graph.levels]
    images = [torch.randn(shape, generator=generator).clamp(-1, 1).to(device) for shape in shapes]
    eps = [torch.randn(shape, generator=generator).to(device) for shape in shapes]
    classes = None if graph.classes is None else torch.randint(0, graph.classes, (rows,), generator=generator)
    return Batch(
        images=images,
        t=torch.randint(0, graph.process.steps, (rows,), generator=generator).to(device),
        eps=eps,
        classes=None if classes is None else classes.to(device),
        captions=("",) * rows if graph.text is not None else (),
        without_text=None if graph.text is None else torch.zeros(rows, dtype=torch.bool, device=device),
        keys=("",) * rows,
    )


def conditions(graph: EntryGraph, rows: int, device: torch.device | str, *, given: bool = True) -> dict[str, Tensor]:
    """Return random conditions of some rows as arguments of a network.

    Args:
        graph: Graph of the entry.
        rows: Number of rows.
        device: Device of the tensors.
        given: Whether there are conditions; if not, they are those of rows without text and class.
    """
    device = torch.device(device)
    found: dict[str, Tensor] = {}
    if graph.text is not None:
        states, mask = RandomText(graph.text.width, graph.text.tokens, device)([""] * rows)
        found = {"text": states * given, "text_mask": mask & given}
    if graph.classes is not None:
        indices = torch.arange(rows) % graph.classes if given else torch.full((rows,), graph.classes)
        found["classes"] = indices.to(device)
    return found
