"""Activation memory by rules against what autograd saves, and against what is alive at once in inference."""

from __future__ import annotations

import weakref

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import zoo
from registry.costs.memory import activation_memory
from specs.load import load_text

SMALL = zoo.list(parameters_below=5_000_000)
TEXT = """
name: with-text
resolution: 32
inputs: {text: {width: 24, tokens: 7, project: 64}, scale: {}}
defaults: {attention: {feed_forward: true}}
stages:
  r32: {width: 32, depth: 1}
  r16: {width: 64, depth: 1, attention: 2}
"""


def network(graph):
    torch.manual_seed(0)
    model = zoo.build(graph)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    return model


def inputs(graph, rows):
    z = [torch.randn(rows, level.channels, level.resolution, level.resolution) for level in graph.levels]
    given = {}
    if graph.text is not None:
        given["text"] = torch.randn(rows, graph.text.tokens, graph.text.width)
    if graph.classes is not None:
        given["classes"] = torch.zeros(rows, dtype=torch.long)
    return z, given


def saved_bytes(graph, rows=2):
    """Bytes a sample of all tensors that autograd keeps, weights left out and shared storage counted once."""
    model = network(graph)
    z, given = inputs(graph, rows)
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    storages = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            storages[storage.data_ptr()] = storage  # held, so that no address is used twice
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        kept = model(z, torch.zeros(rows), **given)
    assert kept
    return sum(storage.nbytes() for storage in storages.values()) / rows


class Alive(TorchDispatchMode):
    """The most bytes that are alive at once among tensors made while it is on."""

    def __init__(self, model):
        super().__init__()
        self.seen = {parameter.untyped_storage()._cdata for parameter in model.parameters()}
        self.now = self.peak = 0

    def free(self, key, size):
        self.now -= size
        self.seen.discard(key)

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                if storage._cdata not in self.seen:
                    self.seen.add(storage._cdata)
                    self.now += storage.nbytes()
                    weakref.finalize(storage, self.free, storage._cdata, storage.nbytes())
        self.peak = max(self.peak, self.now)
        return result


@pytest.mark.parametrize("name", SMALL)
def test_training_memory_is_what_autograd_saves(name):
    graph = zoo.get(name).architecture
    rule = activation_memory(graph)[0].training
    assert rule == pytest.approx(saved_bytes(graph), rel=0.01)


@pytest.mark.parametrize("change", [[], ["defaults.attention.feed_forward=false"], ["skip=add"], ["middle=[]"]])
def test_training_memory_with_text(change):
    graph = load_text(TEXT, overrides=change).graph
    assert activation_memory(graph)[0].training == pytest.approx(saved_bytes(graph), rel=0.03)


def test_dropout_keeps_its_mask():
    dry, wet = (zoo.get("mdm-micro", [f"defaults.resnet.dropout={p}"]).architecture for p in (0.0, 0.1))
    assert activation_memory(wet)[0].training == pytest.approx(saved_bytes(wet), rel=0.05)
    assert activation_memory(wet)[0].training > activation_memory(dry)[0].training


@pytest.mark.parametrize("name", SMALL)
def test_inference_memory_is_about_what_is_alive(name):
    graph = zoo.get(name).architecture
    model = network(graph)
    z, given = inputs(graph, 1)
    with torch.no_grad():
        context = model.encode(**given)
        with Alive(model) as alive:
            model(z, torch.zeros(1), context)
    assert activation_memory(graph)[0].inference == pytest.approx(alive.peak, rel=0.2)


@pytest.mark.parametrize("name", zoo.list())
def test_order_of_memories(name):
    whole, levels = activation_memory(zoo.get(name).architecture)
    assert 0 < whole.inference < whole.training
    assert whole.checkpointed < whole.training
    assert whole.training == sum(level.training for level in levels.values())
    assert max(level.inference for level in levels.values()) <= whole.inference
