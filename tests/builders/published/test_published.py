"""The published networks: config, names and outputs against the paper's own implementation."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import zoo
from builders import published
from builders.published.config import PublishedConfigError
from tests.helpers.golden_formula import parameter, tensor
from tests.helpers.paths import GOLDEN

CASES = {case["case"]: case for case in json.loads((GOLDEN / "unet.json").read_text())}
OUTPUTS = np.load(GOLDEN / "unet.npz")


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


def build(case):
    return zoo.build(published.from_config(case["config"], text_width=case["text_dim"]))


def weights(case):
    return {key: parameter(key, shape) for key, shape in case["state_dict"].items()}


def inputs(case):
    prefix = f"{case['input_seed']}:{case['case']}"
    sizes = zip(case["batches"], case["sizes"], strict=True)
    z = [tensor(f"{prefix}:x{i}", (rows, 3, side, side)) for i, (rows, side) in enumerate(sizes)]
    mask = torch.tensor(case["mask"])
    text = tensor(f"{prefix}:text", (case["batches"][-1], case["tokens"], case["text_dim"])) * mask[..., None]
    return z, torch.tensor(case["times"]), {"text": text, "text_mask": mask, "scale": torch.tensor(case["micro_scale"])}


@torch.no_grad()
def test_outputs_are_those_of_the_papers_implementation(case):
    model = build(case)
    assert sum(p.numel() for p in model.parameters()) == case["parameters"]
    published.load_state_dict(model, weights(case))
    z, t, conditions = inputs(case)
    predictions = model(z, t, model.encode(**conditions))
    for index, prediction in enumerate(predictions):
        golden = OUTPUTS[f"{case['case']}/pred{index}"]
        assert np.abs(golden).max() > 0.1
        np.testing.assert_allclose(prediction.numpy(), golden, rtol=0, atol=1e-5)


def test_every_published_tensor_is_loaded_once(case):
    model = build(case)
    names = [name for _, name in published.parameter_names(model, case["state_dict"])]
    assert sorted(names) == sorted(model.state_dict())


def test_differences_are_listed_and_nothing_is_loaded():
    case = CASES["nested-2level"]
    model = build(case)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    state = weights(case)
    state["surplus.weight"] = torch.zeros(3)
    del state["inner_unet.lm_proj.bias"]
    state["conv_in.weight"] = torch.zeros(32, 4, 3, 3)
    with pytest.raises(published.PublishedWeightsError) as error:
        published.load_state_dict(model, state)
    message = str(error.value)
    assert "3 differences" in message
    assert "unknown: surplus.weight (3,) has no place" in message
    assert "shape: conv_in.weight is (32, 4, 3, 3), levels.r256.stem.weight is (32, 3, 3, 3)" in message
    assert "missing: nothing fills inputs.text.project.bias" in message
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temporal_mode": "yes"}, "temporal_mode: expected true or false, got 'yes'"),
        ({"resolution_channels": "32,x"}, "resolution_channels: expected whole numbers, got '32,x'"),
        ({"num_resnets_per_resolution": [1, 2]}, "num_resnets_per_resolution: has 2 numbers for 3 stages"),
        ({"micro_conditioning": "scale"}, "micro_conditioning: 'scale' is not NAME:NUMBER"),
        ({"inner_config": []}, "a published config is a mapping of fields, not list"),
        ({"skip_inner_unet_input": True}, "skip_inner_unet_input: True is not supported"),
    ],
)
def test_configs_that_cannot_be_built_say_why(change, message):
    config = CASES["nested-2level"]["config"] | change
    with pytest.raises(PublishedConfigError, match=".*") as error:
        published.from_config(config, text_width=48)
    assert message in str(error.value)


def test_text_fields_may_be_comma_separated():
    case = CASES["unet-1level"]
    config = case["config"] | {
        "resolution_channels": "32,64,96",
        "num_resnets_per_resolution": "2",
        "attention_levels": "1,2",
        "num_attention_layers": "0,1,2",
    }
    assert published.from_config(config, 48).graph.hash == published.from_config(case["config"], 48).graph.hash


def outer(inner, scale):
    return {
        "attention_levels": [], "micro_conditioning": f"scale:{scale}", "num_attention_layers": [0, 0, 0, 0],
        "num_resnets_per_resolution": [1, 1, 1, 1], "resolution_channels": [32, 32, 32, 32], "skip_mid_blocks": True,
        "skip_normalization": False, "temporal_dim": 128, "inner_config": inner,
    }  # fmt: skip


def test_six_levels_build_whatever_their_nominal_resolution():
    config = CASES["unet-1level"]["config"] | {"micro_conditioning": "scale:64,blur:0"}
    for scale in (256, 1024, 4096, 16384, 65536):
        config = outer(config, scale) | {"micro_conditioning": f"scale:{scale},blur:0"}
    loaded = published.from_config(config, text_width=48)
    assert len(loaded.graph.levels) == 6
    assert [level.normalize_input for level in loaded.graph.levels[:2]] == [True, "auto"]
    assert [micro.default for micro in loaded.graph.levels[0].micro] == [65536.0, 0.0]
    assert zoo.build(loaded, device="meta").labels == loaded.graph.labels


def test_the_resolution_is_that_of_the_scale_if_it_fits():
    config = CASES["unet-1level"]["config"]
    assert published.from_config(config, 48).spec.resolution == 64
    assert published.from_config(config | {"micro_conditioning": "scale:1"}, 48).spec.resolution == 4
    assert published.from_config(config, 48, resolution=32).spec.resolution == 32
