"""The blocks' rules, fvcore and torch's counter agree, exactly."""

from __future__ import annotations

import logging
from math import prod

import pytest
import torch

import zoo
from registry.costs.counters import verify
from specs.blocks import Costs
from specs.load import load_text
from tests.helpers.clip_specs import CLIPS

#: Counted by fvcore, and neither by the rules nor by torch.
UNCOUNTED = ("aten::group_norm", "aten::layer_norm", "aten::upsample_nearest2d")


FEW = ("mdm-micro", "mdm-nano.text", "mdm-nano-v", "mdm-s1024", "unetpp-s64")
OTHERS = [name for name in zoo.list(parameters_below=5_000_000) if name not in FEW]


@pytest.mark.parametrize("name", [*FEW, *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)])
def test_three_counts_agree(name):
    rules, fvcore, torch_ = verify(zoo.get(name).architecture)
    assert (rules.source, fvcore.source, torch_.source) == ("rules", "fvcore", "torch")
    assert (rules.parameters, rules.macs) == (fvcore.parameters, fvcore.macs) == (torch_.parameters, torch_.macs)
    card = zoo.get(name).card()
    assert (rules.parameters, rules.macs) == (card.parameters, card.macs)


def test_a_wrong_rule_is_seen(monkeypatch):
    monkeypatch.setattr("registry.costs.totals.convolution", lambda *args: Costs(parameters=1, macs=2))
    rules, fvcore, torch_ = verify(zoo.get("mdm-micro").architecture)
    assert rules.parameters < fvcore.parameters == torch_.parameters and rules.macs < fvcore.macs == torch_.macs


def test_three_counts_agree_on_clips():
    rules, fvcore, torch_ = verify(load_text(CLIPS).graph)
    assert (rules.parameters, rules.macs) == (fvcore.parameters, fvcore.macs) == (torch_.parameters, torch_.macs)


class Forward(torch.nn.Module):
    """A network as a function of tensors alone, for tracing."""

    def __init__(self, graph):
        super().__init__()
        self.network = zoo.build(graph)

    def forward(self, *tensors):
        count = len(self.network.labels)
        return tuple(self.network(list(tensors[:count]), torch.zeros(1), text=dict(enumerate(tensors)).get(count)))


def attention_macs(inputs, outputs):
    """Scores and weighted sums: (batch, heads, queries, width) times (batch, heads, keys, width), twice."""
    queries, keys = inputs[0].type().sizes(), inputs[1].type().sizes()
    return 2 * prod(queries) * keys[-2]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["mdm-micro", "mdm-nano.text"])
def test_fvcores_rules_on_meta_count_what_its_analysis_counts(name):
    from fvcore.nn import FlopCountAnalysis

    graph = zoo.get(name).architecture
    inputs = [torch.zeros(1, each.channels, *each.size.shape) for each in graph.levels]
    if graph.text is not None:
        inputs.append(torch.zeros(1, graph.text.tokens, graph.text.width))
    analysis = FlopCountAnalysis(Forward(graph).eval(), tuple(inputs))
    analysis.set_op_handle("aten::scaled_dot_product_attention", attention_macs)
    for operator in UNCOUNTED:
        analysis.set_op_handle(operator, lambda inputs, outputs: 0)
    logging.getLogger("fvcore").setLevel(logging.ERROR)
    with torch.no_grad():
        assert analysis.total() == verify(graph)[1].macs
