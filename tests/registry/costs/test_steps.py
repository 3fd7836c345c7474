"""What a training step saves and computes by the rules, against autograd and torch's counter."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from builders.blocks import build_block
from registry.costs.steps import step_costs, times
from registry.costs.totals import count
from specs.blocks import BLOCKS, Scene, Size
from specs.blocks.base import Use
from specs.blocks.tape import Tape
from specs.graph import Node
from specs.load import load_entry, load_text
from tests.helpers.clip_specs import CLIPS
from tests.helpers.training_steps import measured_flops, measured_saved_bytes

TEXT = """
name: with-text
resolution: 8
inputs: {text: {width: 24, tokens: 7, project: 32, self_attention: 1}, scale: {}}
defaults: {attention: {feed_forward: true}}
stages:
  r8: {width: 32, depth: 1}
  r4: {width: 32, depth: 1, attention: 1}
"""
OUTER = """
name: two-levels
resolution: 16
stages: {r16: {width: 32, depth: 1}, r8: {width: 32, depth: 1}}
nest:
  resolution: 8
  inputs: {classes: 4}
  defaults: {resnet: {dropout: 0.1}}
  stages: {r8: {width: 32, depth: 1}, r4: {width: 64, depth: 1, attention: 1}}
"""
GRAPHS = {"text": load_text(TEXT).graph, "outer": load_text(OUTER).graph, "clips": load_text(CLIPS).graph}
MICRO = load_entry("mdm-micro").graph
CASES = [
    ("micro", {}),
    ("micro", {"checkpointed": ("r16", "r8")}),
    ("micro", {"frozen": ("r8",)}),
    ("micro", {"frozen": ("r16",), "checkpointed": ("r8",)}),
    ("micro", {"without_loss": ("r16",)}),
    ("micro", {"frozen": ("r8",), "checkpointed": ("r16",)}),
    ("outer", {"checkpointed": ("r16",)}),
    ("text", {"checkpointed": ("r8",)}),
    ("clips", {}),
]


def case(name, settings):
    """Return a graph, rows that differ by level, and what the rules say."""
    graph = MICRO if name == "micro" else GRAPHS[name]
    rows = {label: 1 + index for index, label in enumerate(graph.labels)}
    half = settings.get("half", False)
    sets = {key: frozenset(value) for key, value in settings.items() if key != "half"}
    return graph, rows, step_costs(graph, half=half, **sets)


@pytest.mark.parametrize("half", [False, True], ids=["float32", "bfloat16"])
@pytest.mark.parametrize(("name", "settings"), CASES)
def test_saved_bytes_are_those_of_autograd(name, settings, half):
    settings = {**settings, "half": half}
    graph, rows, found = case(name, settings)
    assert times(found.saved, rows) + found.kept_copies == pytest.approx(
        measured_saved_bytes(graph, rows, **settings), rel=1e-3
    )


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_flops_are_those_of_torch(name, settings):
    graph, rows, found = case(name, settings)
    assert found.flops(rows) == measured_flops(graph, rows, **settings)


@pytest.mark.parametrize("name", ["mdm-micro", "mdm-s64", "mdm-s256.in1k", "mdm-s64v", "unetpp-s64"])
def test_the_forward_pass_costs_what_the_card_says(name):
    graph = load_entry(name).graph
    found, total = step_costs(graph), count(graph).total
    assert sum(found.forward.values()) == total.total_macs
    # Neither images nor sinusoids need a gradient.
    assert 1.9 * total.total_macs < sum(found.backward.values()) < 2 * total.total_macs
    assert found.flops(dict.fromkeys(graph.labels, 3)) == 6 * sum((*found.forward.values(), *found.backward.values()))


def test_checkpointed_blocks_are_counted_twice():
    found = step_costs(MICRO, checkpointed=frozenset(MICRO.labels))
    rows = {"r16": 2, "r8": 3}
    again = 2 * (2 * found.again["r16"] + 3 * found.again["r8"])
    assert found.flops(rows) - found.flops(rows, again=False) == again > 0
    assert found.flops(rows, again=False) == step_costs(MICRO).flops(rows)


def test_memory_of_a_pass_is_what_is_saved_and_the_largest_block():
    found = step_costs(MICRO, checkpointed=frozenset(MICRO.labels), half=True)
    rows = {"r16": 2, "r8": 3}
    largest = max(times(saved, rows) + copies for saved, copies in found.recomputed)
    assert found.copies > found.kept_copies  # blocks make their copies again
    expected = times(found.saved, rows) + max(found.copies, found.kept_copies + largest)
    assert found.activations(rows) == expected
    assert found.workspace({"r16": 2, "r8": 0}) == 2 * found.gradient["r16"]


@pytest.mark.parametrize("block", ["resnet", "conv", "up", "temporal_conv"])
def test_blocks_without_operations_count_by_their_other_rules(monkeypatch, block):
    """As blocks of other packages do: the same bytes in float32, and the same products."""
    step_costs.cache_clear()
    graph = GRAPHS["clips"]
    exact = step_costs(graph)
    monkeypatch.delattr(BLOCKS[block], "record")
    step_costs.cache_clear()
    found = step_costs(graph)
    step_costs.cache_clear()
    assert found.forward == exact.forward
    for label in graph.labels:
        assert found.saved[label] == pytest.approx(exact.saved[label], rel=0.03)
        assert found.backward[label] == pytest.approx(exact.backward[label], rel=0.01)


def recorded(block: str, args: Mapping[str, object], *, gpu: bool) -> int:
    """Return the bytes that one block saves under autocast, by the rules; its input is in low precision."""
    tape = Tape(half=True, gpu=gpu)
    kind = BLOCKS[block]
    x, time = tape.value(32 * 64, half=True, grad=True), tape.value(16, grad=True)
    kind.record(tape, x, Use(kind.Args(**args), 32, 32, Size(8), Scene(16), time if "time" in kind.ports else None))
    return sum(storage.size for storage in tape.saved) + tape.kept_copies


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize(("block", "args"), [("resnet", {"groups": 4}), ("conv", {}), ("up", {}), ("down", {})])
def test_precisions_of_autocast(block, args, device):
    """Those of a GPU on tensors that only have a shape: norms compute in float32 there."""
    node = Node("x", block, 32, tuple(sorted(args.items())), ("stem",))
    storages = {}

    def pack(tensor):
        storages[tensor.untyped_storage()._cdata] = tensor
        return tensor

    before = torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)
    torch.set_autocast_enabled(device, True)
    torch.set_autocast_dtype(device, torch.bfloat16)
    try:
        with FakeTensorMode(), torch.device(device):
            module = build_block(node, 32, Scene(16))
            x = torch.empty(1, 32, 8, 8, dtype=torch.bfloat16, requires_grad=True)
            inputs = [x, torch.empty(1, 16, requires_grad=True)] if block == "resnet" else [x]
            own = {parameter.untyped_storage()._cdata for parameter in module.parameters()}
            with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
                module(*inputs)
    finally:
        torch.set_autocast_enabled(device, before[0])
        torch.set_autocast_dtype(device, before[1])
        torch.clear_autocast_cache()
    saved = sum(tensor.untyped_storage().nbytes() for key, tensor in storages.items() if key not in own)
    # Shapes alone have statistics of norms in low precision, which are in float32 on either device.
    assert recorded(block, args, gpu=device == "cuda") == pytest.approx(saved, rel=1e-3)
