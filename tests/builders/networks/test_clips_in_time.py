"""Networks of clips around images: what the levels inside see and predict, rows, gradients, shapes, export."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch.utils import _pytree as pytree

import zoo
from builders.blocks.frames import as_rows
from builders.checkpoints.shipped import WEIGHTS
from builders.checkpoints.weights import load_checkpoint
from builders.networks.embeddings import MicroEmbedding, sinusoids
from builders.networks.nested_unet import build_model
from builders.networks.parameters import load_inner, parameters_by_level
from specs.graph import EntryGraph
from specs.load import load_text
from tests.helpers.networks import noise, randomise

#: A level nested in space around one nested in time around images.
BOTH = """
name: both
resolution: 16
frames: 4
head: {groups: 4}
defaults: {resnet: {groups: 4}, temporal_conv: {groups: 4}}
stages: {r16f4: {width: 8, blocks: [resnet, temporal_conv]}, r8f4: {width: 8}}
nest:
  resolution: 8
  frames: 4
  head: {groups: 4}
  defaults: {resnet: {groups: 4}, temporal_attention: {heads: 2}}
  stages: {r8f4: {width: 8, temporal: 1}, r8f2: {width: 12, depth: 0}, r8f1: {width: 8, depth: 0}}
  nest:
    resolution: 8
    inputs: {classes: 3}
    head: {groups: 4}
    defaults: {resnet: {groups: 4}, attention: {groups: 4, heads: 2}}
    stages: {r8: {width: 8, attention: 1}}
"""
AROUND_NANO = """
name: around-nano
resolution: 64
frames: 2
nest: mdm-nano
head: {groups: 4}
defaults: {resnet: {groups: 4}, temporal_conv: {groups: 4}}
stages: {r64f2: {width: 8, blocks: [resnet, temporal_conv]}, r64f1: {width: 8, depth: 0}}
"""
#: Nothing but clips; their stages halve the frames twice, and attention over frames has a coarser grid.
CLIPS = """
name: clips
resolution: 8
frames: 8
head: {groups: 4}
defaults: {resnet: {groups: 4}, temporal_attention: {heads: 2, factor: 2}}
stages: {r8f8: {width: 8}, r8f4: {width: 8, depth: 0}, r8f2: {width: 8, depth: 0, temporal: 1}}
middle: [resnet]
"""
#: One block of each kind.
TINY = """
name: tiny
resolution: 4
frames: 2
head: {groups: 4}
graph:
  stem: {width: 8}
  conv: {block: temporal_conv, groups: 4, from: stem}
  attend: {block: temporal_attention, heads: 2, factor: 2, from: conv}
  first: {block: time_down, from: attend}
  nest: {from: first}
  both: {block: conv, kernel: 1, width: 8, from: [{time_up: nest}, conv], merge: cat}
  head: {from: both}
nest:
  resolution: 4
  inputs: {classes: 3}
  head: {groups: 4}
  graph:
    stem: {width: 8}
    mix: {block: resnet, groups: 4, from: stem}
    head: {from: mix}
"""


@pytest.fixture(scope="module")
def both():
    return randomise(build_model(load_text(BOTH).graph))


@pytest.fixture(scope="module")
def clips():
    return randomise(build_model(load_text(CLIPS).graph))


def without_adapters(model):
    """Set the adapters to zero, as in a fresh network, so that nothing goes in or out of the nested levels."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".nest." in name:
                parameter.zero_()
    return model


@torch.no_grad()
def test_levels_of_images_predict_frame_0_as_they_do_alone():
    alone, _ = load_checkpoint(WEIGHTS / "mdm-nano.safetensors")
    around = without_adapters(randomise(build_model(load_text(AROUND_NANO).graph)))
    assert around.graph.graph_hashes["r64"] == alone.graph.graph_hash
    assert load_inner(around, alone.state_dict()) == ("r64", "r32", "r16")
    z, t, classes = noise(around.graph, 1), [700], [1]
    found, wanted = around(z, t, classes=classes), alone(z[1:], t, classes=classes)
    assert [(a - b).abs().max().item() for a, b in zip(found[1:], wanted, strict=True)] == [0, 0, 0]
    assert not hasattr(around.levels["r64"], "normalize_input") and hasattr(around.levels["r32"], "normalize_input")


@torch.no_grad()
def test_nested_levels_predict_what_they_predict_alone(both):
    model = without_adapters(copy.deepcopy(both))
    z, t, classes = noise(both.graph, [1, 2, 3]), [3, 500, 999], [0, 1, 3]
    found = model(z, t, classes=classes)
    for index in (1, 2):
        graph = replace(both.graph, levels=both.graph.levels[index:])
        if index == 1:
            # Alone, the level is inside no level of more pixels.
            graph = replace(graph, levels=(replace(graph.levels[0], normalize_input=True), *graph.levels[1:]))
        alone = build_model(graph).eval()
        alone.load_state_dict({key: model.state_dict()[key] for key in alone.state_dict()})
        wanted = alone(z[index:], t, classes=classes)
        assert all((a - b).abs().max() == 0 for a, b in zip(found[index:], wanted, strict=True))


def test_levels_normalise_inside_one_of_more_pixels():
    def normalising(graph: EntryGraph) -> list[str]:
        levels = zoo.build(graph, device="meta").levels
        return [label for label, level in levels.items() if hasattr(level, "normalize_input")]

    graph = load_text(BOTH).graph
    assert normalising(graph) == ["r8f4"]
    assert normalising(graph.inner("r8f4")) == []
    assert normalising(load_text(BOTH, overrides=["nest.normalize_input=false"]).graph) == []


@torch.no_grad()
def test_rows_that_only_images_have_change_nothing_for_the_clips(both):
    z, t, classes = noise(both.graph, [2, 2, 5]), [3, 500, 20, 999, 7], [0, 1, 2, 3, 3]
    mixed = both(z, t, classes=classes)
    assert [x.shape for x in mixed] == [x.shape for x in z]
    alone = both([x[:2] for x in z], t[:2], classes=classes[:2])
    torch.testing.assert_close([x[:2] for x in mixed], alone)
    fewer = both([z[0][:1], z[1][:1], z[2][[0, 2, 3, 4]]], [t[0], *t[2:]], classes=[classes[0], *classes[2:]])
    torch.testing.assert_close(fewer[2][1:], mixed[2][2:])


@torch.no_grad()
def test_frames_of_predictions_are_one_after_the_other_in_memory(both):
    z = noise(both.graph, 2)
    for prediction in both(z, 5)[:2]:
        assert as_rows(prediction).data_ptr() == prediction.data_ptr()
        assert prediction.transpose(1, 2).is_contiguous()
    ordered = [*(x.transpose(1, 2).contiguous().transpose(1, 2) for x in z[:2]), z[2]]
    torch.testing.assert_close(both(z, 5), both(ordered, 5))


def test_gradients_reach_every_parameter_of_clips_and_images(both):
    model = copy.deepcopy(both).train()
    predictions = model(noise(model.graph, [1, 1, 2]), 5, classes=[0, 3])
    sum(p.square().mean() for p in predictions).backward()
    assert not [name for name, parameter in model.named_parameters() if parameter.grad is None]
    found = parameters_by_level(model)
    assert list(found) == ["r16f4", "r8f4", "r8"] and sum(map(len, found.values())) == len(list(model.parameters()))


@torch.no_grad()
def test_clips_alone_have_any_multiple_of_their_reduction_in_time(clips):
    for frames in (4, 8, 12):
        z = [torch.randn(1, 3, frames, 12, 8, generator=torch.Generator().manual_seed(2))]
        assert clips(z, 5)[0].shape == z[0].shape


@pytest.mark.parametrize(
    ("network", "shapes", "message"),
    [
        ("both", [(1, 3, 8, 16, 16), (1, 3, 8, 8, 8), (1, 3, 8, 8)], "level r16f4 takes clips of 4 frames, not 8"),
        ("both", [(1, 3, 4, 16, 16), (1, 3, 2, 8, 8), (1, 3, 8, 8)], "level r8f4 takes clips of 4 frames, not 2"),
        (
            "both",
            [(1, 3, 4, 16, 16), (1, 3, 4, 8, 8), (1, 3, 1, 8, 8)],
            "the input of level r8 has shape (1, 3, 1, 8, 8), not (rows, 3, height, width)",
        ),
        (
            "both",
            [(1, 3, 4, 8, 8), (1, 3, 4, 8, 8), (1, 3, 8, 8)],
            "level r16f4 is 2 times the side of r8f4, but their inputs are (8, 8) and (8, 8)",
        ),
        (
            "both",
            [(1, 3, 4, 16, 16), (1, 3, 4, 8, 8), (1, 3, 4, 4)],
            "level r8f4 has the side of r8, but their inputs are (8, 8) and (4, 4)",
        ),
        ("both", [(2, 3, 4, 16, 16), (2, 3, 4, 8, 8), (1, 3, 8, 8)], "level r8f4 has 2 rows, more than r8 (1)"),
        ("clips", [(1, 3, 6, 8, 8)], "level r8f8 needs frames that are a multiple of 4, not 6"),
        (
            "clips",
            [(1, 3, 8, 8)],
            "the input of level r8f8 has shape (1, 3, 8, 8), not (rows, 3, frames, height, width)",
        ),
        ("clips", [(1, 3, 8, 9, 8)], "level r8f8 needs sides that are multiples of 2, not 9x8"),
    ],
)
def test_clips_around_images_that_do_not_fit_say_why(request, network, shapes, message):
    model = request.getfixturevalue(network)
    with pytest.raises(ValueError, match=".*") as error:
        model([torch.zeros(shape) for shape in shapes], 0)
    assert str(error.value) == message


def test_the_context_of_clips_is_a_pytree(both):
    context = both.encode(classes=[1, 2])
    leaves, spec = pytree.tree_flatten(context)
    again = pytree.tree_unflatten(leaves, spec)
    assert list(again.levels) == ["r16f4", "r8f4", "r8"] and again.rows == 2
    assert pytree.treespec_loads(pytree.treespec_dumps(spec)) == spec


def test_export_of_clips_with_a_dynamic_batch():
    model = randomise(build_model(load_text(TINY).graph))
    rows = {0: torch.export.Dim("batch", min=2, max=64)}
    with torch.no_grad():
        context = model.encode(classes=[1, 2, 3])
    levels = [(rows,) * len(values) for values in context.levels.values()]
    example = (noise(model.graph, 3), torch.tensor([5, 500, 900]), context)
    program = torch.export.export(model, example, dynamic_shapes={"z": [rows] * 2, "t": rows, "context": levels})
    z, t, other = (
        noise(model.graph, 5, seed=7),
        torch.tensor([1, 2, 3, 900, 999]),
        model.encode(classes=[0, 1, 2, 3, 3]),
    )
    with torch.no_grad():
        torch.testing.assert_close(program.module()(z, t, other), model(z, t, other))


@torch.no_grad()
@pytest.mark.slow
def test_clips_compile_without_graph_breaks(both):
    z, t, context = noise(both.graph, 2), torch.tensor([3.0, 500.0]), both.encode(batch_size=2)
    assert torch._dynamo.explain(both)(z, t, context).graph_break_count == 0


def test_a_frame_rate_of_30_counts_as_1():
    module = randomise(MicroEmbedding("frame_rate", 8.0, 16))
    waves = sinusoids(torch.tensor([500.0, 8000 / 30]), 4)
    wanted = module.linear2(torch.nn.functional.silu(module.linear1(waves)))
    torch.testing.assert_close(module(torch.tensor([15.0, float("nan")])), wanted, rtol=0, atol=1e-4)
