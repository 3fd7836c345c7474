"""Activation checkpointing: equal gradients to the bit, and less memory."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

from benchmarks.suite.measuring import saved_bytes
from builders.networks.checkpointing import CheckpointedBlock
from builders.networks.nested_unet import build_model
from specs.load import load_text
from tests.helpers.clip_specs import CLIPS, CLIPS_ALONE
from tests.helpers.networks import noise, randomise

WET = ["defaults.resnet.dropout=0.3"]
#: Images in images, with skips that are added and merged, text with a mask, and dropout at both levels.
IMAGES = """
name: images
resolution: 16
head: {groups: 4}
defaults: {resnet: {groups: 4, dropout: 0.3}, attention: {groups: 4, heads: 2}}
stages:
  r16: {width: 8, depth: 2}
  r8: {width: 12, attention: 1}
nest:
  resolution: 8
  inputs: {text: {width: 6, tokens: 5, mask_attention: true}, scale: {}}
  head: {groups: 4}
  defaults: {resnet: {groups: 4, dropout: 0.3}, attention: {groups: 4, heads: 2, feed_forward: true}}
  stages:
    r8: {width: 8}
    r4: {width: 8, attention: 1}
"""


def entry(text):
    return load_text(text, overrides=WET if text is CLIPS_ALONE else []).graph


def given(graph):
    values = {}
    if graph.text is not None:
        values["text"] = torch.randn(3, 5, 6, generator=torch.Generator().manual_seed(3))
        values["text_mask"] = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0]])
    if graph.classes is not None:
        values["classes"] = torch.arange(3) % graph.classes
    return values


def gradients(model):
    """Loss and gradients of one step, and a number that the global generator draws after it."""
    graph = model.graph
    torch.manual_seed(7)
    model.zero_grad()
    rows = [2] * (len(graph.levels) - 1) + [3]
    loss = sum(x.square().sum() for x in model(noise(graph, rows), [3, 500, 900], **given(graph)))
    loss.backward()
    return [loss, *(value.grad for value in model.parameters()), torch.rand(1)]


def assert_same(found, wanted):
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        assert (one is None) == (other is None)
        assert one is None or torch.equal(one, other)


@pytest.mark.parametrize("text", [IMAGES, CLIPS, CLIPS_ALONE])
def test_gradients_are_equal_to_the_bit_with_dropout(text):
    model = randomise(build_model(entry(text))).train()
    wanted = gradients(model)
    names, code = list(model.state_dict()), [level.code for level in model.levels.values()]
    for labels in ([model.labels[0]], model.labels[1:], model.labels):
        model.checkpoint(labels)
        assert_same(gradients(model), wanted)
    assert list(model.state_dict()) == names and [level.code for level in model.levels.values()] == code
    assert_same(gradients(copy.deepcopy(model)), wanted)


def test_pickled_networks_checkpoint_the_same_levels():
    model = randomise(build_model(entry(IMAGES))).train()
    wanted = gradients(model)
    model.checkpoint(["r16"])
    other = pickle.loads(pickle.dumps(model))
    assert_same(gradients(other), wanted)
    assert any(isinstance(each, CheckpointedBlock) for each in other._denoisers[0].children())
    assert not any(isinstance(each, CheckpointedBlock) for each in other.modules())


def test_only_inputs_of_blocks_are_saved():
    model = randomise(build_model(entry(IMAGES))).train()
    graph = model.graph

    def saved():
        z, t = noise(graph, 3), torch.zeros(3)
        return saved_bytes(lambda: model(z, t, **given(graph)), model.parameters())

    everything = saved()
    model.checkpoint(["r8"])
    assert saved() < everything
    model.checkpoint(model.labels)
    assert saved() < 0.4 * everything
    model.checkpoint([])
    assert saved() == everything


@torch.no_grad()
def test_inference_and_replaced_blocks_are_untouched():
    model = randomise(build_model(entry(IMAGES)))
    z = noise(model.graph, 2)
    wanted = model(z, 5)
    model.checkpoint(model.labels)
    assert_same(model(z, 5), wanted)
    block = model.levels["r16"].get_submodule("r16_down0_resnet")
    model.levels["r16"].r16_down0_resnet = torch.nn.Identity()
    model.levels["r16"].r16_down0_resnet.forward = lambda x, time: block(x, time)
    model.refresh()
    assert_same(model(z, 5), wanted)


def test_levels_that_do_not_exist():
    with pytest.raises(ValueError, match=r"images has no level 'r4'; its levels: r16, r8"):
        build_model(entry(IMAGES), "meta").checkpoint(["r4"])
