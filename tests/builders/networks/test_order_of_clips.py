"""Order in memory of the features in levels of clips: blocks read and return frames outermost, so none copies."""

from __future__ import annotations

import pickle

import torch

from builders.networks.nested_unet import build_model
from specs.load import load_text
from tests.helpers.clip_specs import CLIPS
from tests.helpers.networks import randomise


def features_of_clips(model, z):
    """Return the features that each module of a level's graph reads and returns, by its name, where they are clips."""
    found = {}

    def record(name):
        def hook(module, given, result):
            features = [each for each in (given[0], result) if isinstance(each, torch.Tensor) and each.dim() == 5]
            if not name.endswith(".rows"):  # these are rows of prompts
                found.setdefault(name, []).extend(features)

        return hook

    for label, level in model.levels.items():
        for name, module in level.named_children():
            module.register_forward_hook(record(f"{label}.{name}"))
    with torch.no_grad():
        model(z, torch.zeros(2), text=torch.randn(2, 5, 6))
    return {name: clips for name, clips in found.items() if clips}


def test_blocks_read_and_return_frames_outermost():
    graph = load_text(CLIPS).graph
    model = randomise(build_model(graph))
    z = [torch.randn(2, 3, *level.size.shape) for level in graph.levels]
    z = [x.transpose(1, 2).contiguous().transpose(1, 2) if x.dim() == 5 else x for x in z]
    found = features_of_clips(model, z)
    blocks = {name.split("_")[-1] for name in found}
    assert {"attention", "conv", "downsample", "resnet", "upsample"} <= blocks
    for name, features in found.items():
        assert all(each.transpose(1, 2).is_contiguous() for each in features), name


def test_clips_are_joined_by_their_rows():
    model = build_model(load_text(CLIPS).graph, device="meta", initialize=False)
    assert "cat_clips" in model.levels["r16f8"].code and "torch.cat" not in model.levels["r16f8"].code
    assert "torch.cat" in model.levels["r8"].code


def test_networks_of_clips_are_pickled():
    model = randomise(build_model(load_text(CLIPS).graph))
    z = [torch.randn(2, 3, *level.size.shape) for level in model.graph.levels]
    for found, expected in zip(pickle.loads(pickle.dumps(model))(z, 5), model(z, 5), strict=True):
        assert torch.equal(found, expected)
