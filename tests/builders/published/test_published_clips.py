"""The published networks of clips: config, names and outputs against the paper's own implementation."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import torch

import zoo
from builders import published
from builders.published.config import PublishedConfigError, to_mapping
from builders.published.convert import convert
from registry.weights import load_weights
from specs.load import load_text
from tests.helpers.golden_formula import parameter, tensor
from tests.helpers.paths import GOLDEN

CASES = {case["case"]: case for case in json.loads((GOLDEN / "video.json").read_text())}
OUTPUTS = np.load(GOLDEN / "video.npz")


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


def read(config, **options):
    return published.from_config(config, text_width=48, **options)


def weights(case):
    """The published weights, of which the adapters named in the case keep only the middle tap."""
    state = {key: parameter(key, shape) for key, shape in case["state_dict"].items()}
    for key in case["centre_tap"]:
        middle = state[key][:, :, 1, 1].clone()
        state[key] = torch.zeros_like(state[key])
        state[key][:, :, 1, 1] = middle
    return state


def inputs(case):
    prefix = f"{case['input_seed']}:{case['case']}"
    levels = zip(case["batches"], case["frames"], case["sizes"], strict=True)
    z = [
        tensor(f"{prefix}:x{i}", (rows, 3, *(() if frames == 1 else (frames,)), side, side))
        for i, (rows, frames, side) in enumerate(levels)
    ]
    mask = torch.tensor(case["mask"])
    text = tensor(f"{prefix}:text", (case["batches"][-1], case["tokens"], case["text_dim"])) * mask[..., None]
    return z, torch.tensor(case["times"]), {"text": text, "text_mask": mask, "scale": torch.tensor(case["micro_scale"])}


@torch.no_grad()
def test_outputs_are_those_of_the_papers_implementation(case):
    model = zoo.build(read(case["config"]))
    assert sum(p.numel() for p in model.parameters()) == case["parameters"]
    assert [level.frames for level in model.graph.levels] == case["frames"]
    published.load_state_dict(model, weights(case))
    z, t, conditions = inputs(case)
    predictions = model(z, t, model.encode(**conditions))
    for index, prediction in enumerate(predictions):
        golden = OUTPUTS[f"{case['case']}/pred{index}"]
        assert np.abs(golden).max() > 0.1
        np.testing.assert_allclose(prediction.numpy(), golden, rtol=0, atol=1e-5)


def test_every_published_tensor_is_loaded_once(case):
    model = zoo.build(read(case["config"]), device="meta")
    constants = ["down_blocks.0.t_attn.0.attn.pos_emb.freqs", "inner_unet.up_blocks.1.t_attn.3.attn.pos_emb.freqs"]
    names = [name for _, name in published.parameter_names(model, [*case["state_dict"], *constants])]
    assert sorted(names) == sorted(model.state_dict())


def test_a_network_in_space_around_one_in_time_as_a_spec():
    spec = to_mapping(CASES["space-then-time"]["config"], 48)
    assert (spec["resolution"], spec["frames"]) == (128, 4)
    assert spec["stages"] == {"r128f4": {"width": 32, "depth": 1}, "r64f4": {"width": 64, "depth": 1}}
    inner = spec["nest"]
    # Explicit, or equal to what "auto" means: the level is inside one of more pixels.
    assert "normalize_input" not in inner and "normalize_input" not in spec
    assert inner["defaults"] == {"temporal_attention": {"factor": 2}}
    attention = {"block": "temporal_attention", "heads": 2}
    assert inner["stages"]["r64f1"] == {"width": 64, "depth": 1, "blocks": ["resnet", attention]}
    assert "frames" not in inner["nest"] and list(inner["nest"]["stages"]) == ["r64", "r32"]


def test_a_network_in_time_inside_another_normalises_explicitly():
    config = CASES["time-then-time"]["config"]
    spec = to_mapping(config, 48, resolution=8)
    assert (spec["frames"], spec["nest"]["frames"]) == (16, 4)
    assert spec["nest"]["normalize_input"] is True and "normalize_input" not in spec
    plain = config | {"inner_config": config["inner_config"] | {"skip_normalization": True}}
    assert "normalize_input" not in to_mapping(plain, 48, resolution=8)["nest"]
    assert to_mapping(config | {"skip_normalization": False}, 48)["normalize_input"] is True


def changed(case, changes, *, inside=0):
    config = copy.deepcopy(CASES[case]["config"])
    target = config
    for _ in range(inside):
        target = target["inner_config"]
    target.update(changes)
    return config


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            changed("time-4", {"temporal_mode": True}, inside=1),
            "temporal_mode: true is not supported in the innermost network",
        ),
        (
            changed("space-then-time", {"temporal_mode": False}),
            "temporal_mode: false is not supported around a network of 4 frames",
        ),
        (
            changed("time-4-plain", {"resolution_channels": [32, 32], "num_resnets_per_resolution": 1}),
            "resolution_channels: a network in time has an odd number of stages, not 2",
        ),
        (
            changed("space-then-time", {"num_temporal_attention_layers": [0, 1]}),
            "num_temporal_attention_layers: attention over frames is supported only in a network in time",
        ),
        (
            changed("time-4", {"num_temporal_attention_layers": [1, 1]}, inside=1),
            "num_temporal_attention_layers: attention over frames is supported only in a network in time",
        ),
        (
            changed("time-4", {"num_temporal_attention_layers": [1, 1]}),
            "num_temporal_attention_layers: has 2 numbers for 3 stages",
        ),
        (
            changed("time-4", {"resolution_channels": [32, 48, 64]}),
            "resolution_channels: 48 channels cannot be divided into heads of 32, as attention over frames does",
        ),
        (
            changed("time-4", {"temporal_positional_encoding": 3}),
            "temporal_positional_encoding: expected true or false, got 3",
        ),
    ],
)
def test_configs_of_clips_that_cannot_be_built_say_why(config, message):
    with pytest.raises(PublishedConfigError) as error:
        read(config)
    assert message in str(error.value)


def test_converted_networks_of_clips_load(tmp_path):
    case = CASES["time-4-no-positions"]
    (tmp_path / "clips.json").write_text(json.dumps(case["config"]))
    state = weights(case) | {"down_blocks.1.t_attn.0.attn.pos_emb.freqs": torch.zeros(16)}
    torch.save({"state_dict": state}, tmp_path / "clips.pth")
    spec, tensors = convert(tmp_path / "clips.json", tmp_path / "clips.pth", tmp_path / "out")
    model, _ = load_weights(tensors)
    assert load_text(spec.read_text()).graph.hash == model.graph.hash
    z, t, conditions = inputs(case)
    with torch.no_grad():
        prediction = model(z, t, model.encode(**conditions))[0]
    np.testing.assert_allclose(prediction.numpy(), OUTPUTS[f"{case['case']}/pred0"], rtol=0, atol=1e-5)
