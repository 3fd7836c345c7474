"""Activation memory by rules against what autograd saves, and against what is alive at once in inference."""

from __future__ import annotations

import pytest
import torch

import zoo
from benchmarks.suite.measuring import saved_bytes
from registry.costs.memory import activation_memory
from specs.load import load_text
from tests.helpers.clip_specs import CLIPS, CLIPS_ALONE
from tests.helpers.counters import Alive

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
OUTER = """
name: two-levels
resolution: 32
stages: {r32: {width: 32}, r16: {width: 64}}
nest:
  resolution: 16
  inputs: {classes: 4}
  stages: {r16: {width: 32}, r8: {width: 64, attention: 1}}
"""


def network(graph):
    torch.manual_seed(0)
    model = zoo.build(graph)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    return model


def inputs(graph, rows):
    z = [torch.randn(rows, level.channels, *level.size.shape) for level in graph.levels]
    given = {}
    if graph.text is not None:
        given["text"] = torch.randn(rows, graph.text.tokens, graph.text.width)
    if graph.classes is not None:
        given["classes"] = torch.zeros(rows, dtype=torch.long)
    return z, given


def saved_bytes_per_sample(graph, rows=2):
    model = network(graph)
    z, given = inputs(graph, rows)
    return saved_bytes(lambda: model(z, torch.zeros(rows), **given), model.parameters()) / rows


def alive_bytes(graph):
    """Return the bytes alive at once while one sample is denoised."""
    model = network(graph)
    z, given = inputs(graph, 1)
    with torch.no_grad():
        context = model.encode(**given)
        with Alive(model.parameters()) as alive:
            model(z, torch.zeros(1), context)
    return alive.peak


@pytest.mark.parametrize("name", SMALL)
def test_training_memory_is_what_autograd_saves(name):
    graph = zoo.get(name).architecture
    rule = activation_memory(graph)[0].training
    assert rule == pytest.approx(saved_bytes_per_sample(graph), rel=0.01)


@pytest.mark.parametrize("change", [[], ["defaults.attention.feed_forward=false"], ["skip=add"], ["middle=[]"]])
def test_training_memory_with_text(change):
    graph = load_text(TEXT, overrides=change).graph
    assert activation_memory(graph)[0].training == pytest.approx(saved_bytes_per_sample(graph), rel=0.03)


@pytest.mark.parametrize("text", [CLIPS, CLIPS_ALONE])
def test_training_memory_of_clips(text):
    graph = load_text(text).graph
    assert activation_memory(graph)[0].training == pytest.approx(saved_bytes_per_sample(graph), rel=0.01)


def test_inference_memory_of_clips():
    graph = load_text(CLIPS).graph
    assert activation_memory(graph)[0].inference == pytest.approx(alive_bytes(graph), rel=0.1)


def test_dropout_keeps_its_mask():
    dry, wet = (zoo.get("mdm-micro", [f"defaults.resnet.dropout={p}"]).architecture for p in (0.0, 0.1))
    assert activation_memory(wet)[0].training == pytest.approx(saved_bytes_per_sample(wet), rel=0.05)
    assert activation_memory(wet)[0].training > activation_memory(dry)[0].training


@pytest.mark.parametrize("name", SMALL)
def test_inference_memory_is_about_what_is_alive(name):
    graph = zoo.get(name).architecture
    assert activation_memory(graph)[0].inference == pytest.approx(alive_bytes(graph), rel=0.2)


@pytest.mark.parametrize("name", zoo.list())
def test_order_of_memories(name):
    whole, levels = activation_memory(zoo.get(name).architecture)
    assert 0 < whole.inference < whole.training
    assert whole.checkpointed < whole.training
    assert whole.training == sum(level.training for level in levels.values())
    assert max(level.inference for level in levels.values()) <= whole.inference


@pytest.mark.parametrize("text", [TEXT, CLIPS, OUTER])
def test_checkpointed_memory_is_what_is_saved_and_recomputed(text):
    """Inputs as autograd saves them; and for one block more, what is computed again."""
    graph = load_text(text).graph
    model, rows = network(graph).train(), 2
    z, given = inputs(graph, rows)
    model.checkpoint(graph.labels)
    rule, _ = activation_memory(graph)
    found = saved_bytes(lambda: model(z, torch.zeros(rows), **given), model.parameters()) / rows
    assert rule.checkpointed - rule.largest == pytest.approx(found, rel=0.1)
    assert rule.largest < rule.training
