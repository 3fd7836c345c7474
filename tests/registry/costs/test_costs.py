"""The blocks' own rules against torch: parameters of the module, FLOPs of torch's counter, both on meta."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import zoo
from registry.costs.totals import count
from registry.publishing.diagram import draw_entry
from specs.graph import EntryGraph
from specs.load import load_text
from tests.helpers.clip_specs import CLIPS, CLIPS_ALONE
from tests.helpers.entries import entries

#: Table of the published networks: parameters, GFLOPs of one forward with 128 tokens of width 2048.
PUBLISHED = {
    "mdm-s64": (461_359_107, 385.43),
    "mdm-s256": (476_613_958, 610.58),
    "mdm-s1024": (480_970_057, 1040.08),
}


def measured(graph: EntryGraph) -> tuple[int, dict[str, int], int, int]:
    """Return parameters, parameters by level, FLOPs of encoding and FLOPs per step, as counted by torch."""
    model = zoo.build(graph, device="meta")
    inputs: dict[str, torch.Tensor] = {}
    if graph.text is not None:
        inputs["text"] = torch.empty(1, graph.text.tokens, graph.text.width, device="meta")
    z = [torch.empty(1, level.channels, *level.size.shape, device="meta") for level in graph.levels]
    with torch.no_grad():
        with FlopCounterMode(display=False) as encoding:
            context = model.encode(**inputs)
        with FlopCounterMode(display=False) as step:
            model(z, torch.zeros(1, device="meta"), context)
    parameters = {label: sum(p.numel() for p in level.parameters()) for label, level in model.levels.items()}
    total = sum(p.numel() for p in model.parameters())
    return total, parameters, encoding.get_total_flops(), step.get_total_flops()


@pytest.mark.parametrize("name", entries())
def test_rules_agree_with_torch(name):
    graph = zoo.get(name).architecture
    costs = count(graph)
    parameters, by_level, encoding, step = measured(graph)
    assert costs.total.parameters == parameters
    assert 2 * costs.total.encode_macs == encoding
    assert 2 * costs.total.macs == step
    for level in costs.levels:
        inputs = sum(part.costs.parameters for part in level.parts if part.block in ("text", "classes"))
        assert level.total.parameters - inputs == by_level[level.label]


GRAPH = """
name: irregular
resolution: 32
inputs: {classes: 4, text: {width: 24, tokens: 7, project: 64, self_attention: 1, mask_attention: true}, scale: {}}
time: {width: 128}
graph:
  stem: {width: 32}
  x00: {block: resnet, width: 32, from: stem}
  x10: {block: resnet, width: 32, from: {down: x00}}
  x20: {block: attention, feed_forward: true, from: {down: x10}, repeat: 2}
  x11: {block: resnet, width: 64, from: [x10, {up: x20}], merge: cat}
  x01: {block: resnet, width: 32, from: [x00, {up: x10}], merge: mean}
  x02: {block: conv, kernel: 1, width: 64, from: [x01, x00, stem], merge: add}
  x03: {block: resnet, width: 32, from: [x02, {up: x11}], merge: cat}
  head: {from: x03}
"""


@pytest.mark.parametrize("text", [CLIPS, CLIPS_ALONE])
def test_rules_agree_with_torch_on_clips(text):
    graph = load_text(text).graph
    costs = count(graph).total
    parameters, _, encoding, step = measured(graph)
    assert (costs.parameters, 2 * costs.encode_macs, 2 * costs.macs) == (parameters, encoding, step)


def test_rules_agree_with_torch_on_an_explicit_graph(tmp_path):
    graph = load_text(GRAPH).graph
    costs = count(graph).total
    parameters, _, encoding, step = measured(graph)
    assert (costs.parameters, 2 * costs.encode_macs, 2 * costs.macs) == (parameters, encoding, step)
    draw_entry(graph, tmp_path / "irregular.svg")


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_networks(name):
    parameters, gigaflops = PUBLISHED[name]
    card = zoo.get(name).card()
    assert card.parameters == parameters
    assert card.flops / 1e9 == pytest.approx(gigaflops, rel=1e-3)


SHALLOW = ["stages.r64.depth=1", "stages.r32.depth=1", "stages.r16={width: 768, depth: 1, attention: 1}"]


@pytest.mark.parametrize(
    "change",
    [
        "inputs.text.self_attention=2",
        "inputs.text.pool=false",
        "inputs.text.project=null",
        "inputs.classes=10",
        "defaults.attention.text=false",
        "defaults.attention.feed_forward=false",
        "time={width: 256}",
        "channels=4",
        "middle=[]",
        "skip=add",
        "skip=none",
    ],
)
def test_rules_agree_with_torch_on_changed_entries(change):
    graph = zoo.get("mdm-s64", [*SHALLOW, change]).architecture
    costs = count(graph).total
    parameters, _, encoding, step = measured(graph)
    assert (costs.parameters, 2 * costs.encode_macs, 2 * costs.macs) == (parameters, encoding, step)


def test_an_inner_level_costs_what_it_costs_alone():
    alone = zoo.get("mdm-s64").card()
    inner = zoo.get("mdm-s1024").card().levels[-1]
    assert (inner.parameters, inner.flops, inner.graph_hash) == (alone.parameters, alone.flops, alone.graph_hash)


def test_card():
    card = zoo.get("mdm-s1024").card()
    assert card.parameters == sum(level.parameters for level in card.levels)
    assert card.flops == sum(level.flops for level in card.levels) == 2 * card.macs
    assert sum(level.share for level in card.levels) == pytest.approx(1)
    for level in card.levels:
        assert level.parameters == sum(stage.parameters for stage in level.stages)
        assert level.flops == sum(stage.flops for stage in level.stages)
    once, step = card.flops - card.step_flops, card.step_flops
    assert card.sampling_flops(10) == once + 10 * step
    assert card.sampling_flops(10, guided=True) == 2 * (once + 10 * step)
    data = card.as_dict()
    assert data["levels"][2]["label"] == "r64"
