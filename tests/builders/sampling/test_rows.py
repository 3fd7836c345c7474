"""Samples that are denoised at once: by memory, and by pixels on a CPU."""

from __future__ import annotations

import pytest
import torch

import zoo
from builders.sampling import rows
from builders.sampling.generation import Request, SamplerSettings, draw
from builders.sampling.rows import MOST_ROWS, free_memory, rows_at_once, sample_bytes
from registry.costs.memory import activation_memory
from specs.load import load_entry

CPU, GPU = torch.device("cpu"), torch.device("cuda")
#: More pixels than any limit.
MANY = 2**40


@pytest.mark.parametrize("name", [name for name in zoo.list() if "s1024" not in name])
def test_the_bound_is_above_the_peak_and_not_far_from_it(name):
    graph = zoo.get(name).architecture
    peak = activation_memory(graph)[0].inference
    assert peak <= sample_bytes(graph) <= 4 * peak
    assert 1.5 * sample_bytes(graph) < sample_bytes(graph, guided=True) < 2 * sample_bytes(graph)


@pytest.mark.parametrize(("gigabytes", "guided", "expected"), [(16, False, 8), (16, True, 4), (1, False, 1)])
def test_rows_fill_half_of_the_free_memory(monkeypatch, gigabytes, guided, expected):
    monkeypatch.setattr(rows, "free_memory", lambda device: gigabytes * 10**9)
    monkeypatch.setattr(rows, "sample_bytes", lambda graph, guided: 2 * 10**9 if guided else 10**9)
    graph = load_entry("mdm-micro").graph
    for device in (CPU, GPU):
        assert rows_at_once(graph, device, guided=guided, pixels=MANY) == expected


def test_rows_have_a_limit(monkeypatch):
    monkeypatch.setattr(rows, "free_memory", lambda device: 10**15)
    graph = load_entry("mdm-nano-v").graph
    assert rows_at_once(graph, GPU, pixels=1) == rows_at_once(graph, CPU, pixels=MANY) == MOST_ROWS
    assert rows_at_once(graph, CPU, pixels=3 * 32 * 32 * 8 + 1) == 3
    assert rows_at_once(graph, CPU, pixels=1) == 1


def test_free_memory_of_this_machine():
    assert free_memory(CPU) > 2**20


def test_samples_are_those_of_any_batch(monkeypatch):
    """The noise is that of the seed, and a batch by memory has the same samples as one by one."""
    model = zoo.build("mdm-micro").eval()
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.05, generator=generator)
    request, settings = Request(range(5), classes=range(5)), SamplerSettings("ddpm", 3, 2.0)
    found = {}
    for size in (1, 2, 5):
        monkeypatch.setattr(
            rows, "free_memory", lambda device, size=size: 2 * size * sample_bytes(model.graph, guided=True)
        )
        batches = list(draw(model, request, settings))
        assert [len(part) for part, _ in batches] == [size] * (5 // size) + [5 % size] * (5 % size > 0)
        found[size] = [torch.cat(level) for level in zip(*(levels for _, levels in batches), strict=True)]
    for size in (2, 5):
        for level, alone in zip(found[size], found[1], strict=True):
            torch.testing.assert_close(level, alone, atol=1e-5, rtol=0)
