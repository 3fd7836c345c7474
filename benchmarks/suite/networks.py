"""Building networks, and their forward pass."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from benchmarks.baseline.network import PlainUNet, load_from
from benchmarks.suite.comparing import Comparison, Options, compare, counted, zoo_model
from benchmarks.suite.inputs import conditions, graph_of, random_batch
from builders.networks.nested_unet import build_model
from specs.graph import EntryGraph

__all__ = ["build", "forward"]


def build(options: Options) -> Iterator[Comparison]:
    """Measure building a network on meta, with fresh weights, and with the weights of a file."""
    for name, _ in options.entries:
        yield from _build(name, graph_of(name), options)


def _build(name: str, graph: EntryGraph, options: Options) -> Iterator[Comparison]:
    def plain_on_meta() -> None:
        with torch.device("meta"):
            PlainUNet(graph)

    ways = {"on meta": (plain_on_meta, partial(build_model, graph, "meta"))}
    ways["fresh weights"] = partial(PlainUNet, graph), partial(build_model, graph)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.safetensors"
        save_file(build_model(graph).state_dict(), path)
        ways["weights of a file"] = (
            lambda: load_from(PlainUNet(graph), load_file(path)),
            lambda: build_model(graph, initialize=False).load_state_dict(load_file(path)),
        )
        for way, (plain, zoo) in ways.items():
            yield compare("build", f"{name}, {way}", plain, zoo, options, device="cpu")


def forward(options: Options) -> Iterator[Comparison]:
    """Measure a forward pass with its conditions, and with conditions that are encoded once."""
    for name, rows in options.entries:
        yield from _forward(name, rows, options)


@torch.no_grad()
def _forward(name: str, rows: int, options: Options) -> Iterator[Comparison]:
    graph, device = graph_of(name), options.device
    zoo = zoo_model(graph, device).eval()
    plain = load_from(PlainUNet(graph).to(device), zoo.state_dict()).eval()
    z, t = random_batch(graph, rows, device).images, torch.full((rows,), 500, device=device)
    given = conditions(graph, rows, device)
    context = zoo.encode(**given)
    case = f"{name}, {counted(rows, 'row')}"
    yield compare("forward", case, partial(plain, z, t, **given), partial(zoo, z, t, **given), options)
    if graph.text is not None:
        once = partial(zoo, z, t, context)
        yield compare("forward", f"{case}, text encoded once", partial(plain, z, t, **given), once, options)
