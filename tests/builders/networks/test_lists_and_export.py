"""Lists in place of tensors, errors of wrong ones, and export of a network with its context."""

from __future__ import annotations

import pytest
import torch
from torch.utils import _pytree as pytree

import zoo
from builders.diffusion.process import DiffusionProcess, add_noise, v_loss, v_target
from builders.networks.conditioning import Context
from builders.networks.layers import NormalizeInput
from builders.networks.nested_unet import build_model
from builders.sampling.generation import Request, class_shares, draw_all
from builders.sampling.sampler import sample
from specs.graph import TextInput
from specs.load import load_text
from specs.schemas.sampling import SamplerSettings
from tests.helpers.graphs import rich_entry
from tests.helpers.networks import noise, randomise


@pytest.fixture(scope="module")
def model():
    return randomise(zoo.build("mdm-micro"))


def test_lists_are_taken_for_classes_and_times(model):
    z = noise(model.graph, 3)
    with torch.no_grad():
        wanted = model(z, torch.tensor([5, 500, 900]), model.encode(classes=torch.tensor([1, 2, 10])))
        found = model(z, [5, 500, 900], model.encode(classes=[1, 2, 10]))
        direct = model(tuple(z), (5, 500, 900), classes=(1, 2, 10))
    assert all(map(torch.equal, wanted, found)) and all(map(torch.equal, wanted, direct))


def test_lists_are_taken_for_text_and_micro_inputs():
    model = randomise(build_model(rich_entry(text=TextInput(7, tokens=5, project=8))))
    text, mask = torch.rand(2, 3, 7), torch.tensor([[1, 1, 0], [1, 0, 0]])
    wanted = model.encode(text=text, text_mask=mask, classes=torch.tensor([3, 4]), scale=torch.tensor([4.0, 8.0]))
    found = model.encode(text=text.tolist(), text_mask=mask.tolist(), classes=[3, 4], scale=[4, 8])
    rows = model.encode(text=list(text), text_mask=mask.bool().tolist(), classes=[3, 4], scale=[4, 8])
    for other in (found, rows):
        pairs = zip(pytree.tree_leaves(wanted), pytree.tree_leaves(other), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"classes": [0, 11]}, "class 11 does not exist; classes are from 0 to 9, or 10 for none"),
        ({"classes": [-1]}, "class -1 does not exist"),
        ({"classes": torch.tensor([12])}, "class 12 does not exist"),
        ({"classes": [0.5]}, "whole numbers"),
        ({"classes": [True]}, "whole numbers"),
        ({"classes": ["flags"]}, "classes is not a tensor of numbers"),
        ({"classes": "flags"}, "classes is not a tensor of numbers"),
        ({"classes": [[1], [2, 3]]}, "classes is not a tensor of numbers"),
        ({"classes": 3}, r"classes has shape \(\); it has one number per row"),
        ({"classes": [[1, 2]]}, r"classes has shape \(1, 2\)"),
        ({"scale": [64]}, "has no input 'scale'; its inputs: classes"),
        ({"text": [[[1.0]]]}, "has no input 'text'"),
    ],
)
def test_wrong_inputs_are_value_errors(model, inputs, message):
    with pytest.raises(ValueError, match=message):
        model.encode(**inputs)


@pytest.mark.parametrize("times", ["noon", [1, 2], [[1, 2, 3]], [1, None, 3], object()])
def test_wrong_times_are_value_errors(model, times):
    with pytest.raises(ValueError, match="t has shape|t is not a tensor"):
        model(noise(model.graph, 3), times, classes=[1, 2, 3])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda z: [None, None], "the input of level r16 is not a tensor"),
        (lambda z: ["a", "b"], "the input of level r16 is not a tensor"),
        (lambda z: [x.double() for x in z], "level r16 is torch.float64; the weights are torch.float32"),
        (lambda z: [x.int() for x in z], "level r16 is torch.int32"),
        (lambda z: [[], []], "the input of level r16 is empty"),
        (lambda z: z[:1], "has 2 levels"),
    ],
)
def test_wrong_images_are_value_errors(model, change, message):
    with pytest.raises(ValueError, match=message):
        model(change(noise(model.graph, 1)), 5, classes=[1])


def test_arrays_are_taken_for_images(model):
    z = noise(model.graph, 1)
    with torch.no_grad():
        pairs = zip(model(z, 5, classes=[1]), model([x.numpy() for x in z], 5, classes=[1]), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_contexts_of_others_are_value_errors(model):
    z = noise(model.graph, 1)
    for context in ("classes", Context({"r64": (torch.zeros(1, 2),)})):
        with pytest.raises(ValueError, match="not those of mdm-micro: use its own encode"):
            model(z, 5, context)
    with pytest.raises(ValueError, match="there is no context"):
        Context.cat([])
    with pytest.raises(ValueError, match="batch_size must be at least 0"):
        model.encode(batch_size=-1)
    with pytest.raises(ValueError, match="classes is empty"):
        model.encode(classes=[])


@pytest.mark.parametrize("seeds", [[], [1.5], ["a"], [None]])
def test_wrong_seeds_are_value_errors(model, seeds):
    settings = SamplerSettings(num_inference_steps=1)
    with pytest.raises(ValueError, match="seeds"):
        sample(model, model.encode(), DiffusionProcess(model.graph), settings, seeds=seeds)


def test_too_many_settings():
    with pytest.raises(ValueError, match="has 9 fields, but 10 values"):
        SamplerSettings("dpm++", 20, 2.0, (0, 1), 0, True, None, "auto", "index", 5)


def test_lists_are_taken_by_the_process(model):
    process = DiffusionProcess(model.graph)
    x, t = noise(model.graph, 2), torch.tensor([3, 700])
    eps = noise(model.graph, 2, seed=2)
    assert all(map(torch.equal, process.add_noise(x, eps, t), process.add_noise(x, eps, [3, 700])))
    assert all(map(torch.equal, process.alpha_bar(t), process.alpha_bar([3, 700])))
    shares = [0.25, 0.5]
    for function in (add_noise, v_target):
        assert torch.equal(function(x[0], eps[0], shares), function(x[0], eps[0], torch.tensor(shares)))
    assert v_loss(x[0], x[0], eps[0], shares).shape == (2,)


def test_lists_are_taken_by_a_request(model):
    wanted = Request((4, 5), classes=(1, 2))
    assert wanted == Request([4, 5], classes=[1, 2]) == Request(range(4, 6), classes=torch.tensor([1, 2]))
    assert Request(seeds=3, prompts="red") == Request((3,), prompts=("red",))
    levels = draw_all(model, Request([4, 5], classes=[1, 2]), SamplerSettings(num_inference_steps=1))
    assert [level.shape[0] for level in levels] == [2, 2]
    with pytest.raises(ValueError, match="2 seeds, but 1 classes"):
        Request([1, 2], classes=[1])
    with pytest.raises(ValueError, match="class 77 does not exist"):
        draw_all(model, Request([1], classes=[77]), SamplerSettings(num_inference_steps=1))
    with pytest.raises(ValueError, match="no class has an image"):
        class_shares([0, 0], 3)


def test_a_context_is_a_pytree(model):
    context = model.encode(classes=[1, 2])
    leaves, spec = pytree.tree_flatten(context)
    again = pytree.tree_unflatten(leaves, spec)
    assert isinstance(again, Context) and list(again.levels) == ["r16", "r8"] and again.rows == 2
    halved = pytree.tree_map(lambda value: value[:1], context)
    assert halved.rows == 1 and torch.equal(halved.levels["r8"][0], context.levels["r8"][0][:1])
    assert pytree.treespec_loads(pytree.treespec_dumps(spec)) == spec


TINY = """
name: tiny
resolution: 8
head: {groups: 4}
defaults: {resnet: {groups: 4}}
stages: {r8: {width: 8}, r4: {width: 8, depth: 0}}
nest:
  resolution: 4
  inputs: {classes: 10}
  head: {groups: 4}
  defaults: {resnet: {groups: 4}}
  middle: [resnet]
  stages: {r4: {width: 8, depth: 0}}
"""


def test_export_with_a_dynamic_batch():
    """``torch.export`` takes the network and its context; the program runs with other numbers of rows."""
    model = randomise(zoo.build(load_text(TINY)))
    batch = torch.export.Dim("batch", min=2, max=64)
    with torch.no_grad():
        context = model.encode(classes=[1, 2, 3])
    rows = {0: batch}
    shapes = {
        "z": [rows, rows],
        "t": rows,
        "context": [(rows,) * len(values) for values in context.levels.values()],
    }
    times = torch.tensor([5, 500, 900])
    program = torch.export.export(model, (noise(model.graph, 3), times, context), dynamic_shapes=shapes)
    z, other = noise(model.graph, 5, seed=7), model.encode(classes=[9, 8, 7, 6, 10])
    with torch.no_grad():
        wanted = model(z, [1, 2, 3, 900, 999], other)
        found = program.module()(z, torch.tensor([1, 2, 3, 900, 999]), other)
    for a, b in zip(wanted, found, strict=True):
        torch.testing.assert_close(a, b)


def test_normalized_inputs_are_exported_with_any_number_of_rows():
    rows = torch.export.Dim("rows", min=2, max=64)
    exported = torch.export.export(NormalizeInput(), (torch.randn(2, 3, 4, 4),), dynamic_shapes=({0: rows},))
    z = torch.randn(5, 3, 4, 4)
    assert torch.equal(exported.module()(z), NormalizeInput()(z))
