"""Blocks over frames: golden numbers, what they compute at the start, and the order of their outputs in memory."""

from __future__ import annotations

import json
from math import prod, sqrt

import numpy as np
import pytest
import torch

from builders.blocks import build_block
from builders.blocks.temporal_attention import attend, rotate
from specs.blocks import Scene
from specs.graph import Node
from tests.helpers.golden_formula import tensor
from tests.helpers.networks import randomise
from tests.helpers.paths import GOLDEN

CASES = json.loads((GOLDEN / "temporal-blocks.json").read_text())
OUTPUTS = np.load(GOLDEN / "temporal-blocks.npz")
#: One of each block, and attention on a smaller grid.
BLOCKS = [
    ("temporal_attention", {"heads": 4}),
    ("temporal_attention", {"heads": 4, "factor": 2, "positions": "none"}),
    ("temporal_conv", {"groups": 8}),
    ("time_down", {"factor": 3}),
    ("time_up", {"factor": 3}),
]
#: Names of parameters; they are in state dicts.
PARAMETERS = {
    "temporal_attention": "norm qkv out norm2 widen narrow",
    "temporal_conv": "norm conv",
    "time_down": "conv",
    "time_up": "conv",
}


def build(name, args, width=16, in_channels=16):
    return build_block(Node("x", name, width, tuple(sorted(args.items())), ("stem",)), in_channels, Scene(8))


def clips(batch=2, channels=16, frames=6, height=4, width=6):
    """Return random clips with the frames outermost in memory."""
    return torch.randn(batch, frames, channels, height, width).transpose(1, 2)


def golden_weight(case, name, shape):
    """Return the parameter with the golden name ``name``."""
    if len(shape) > 1:
        return tensor(f"{case}:{name}", shape, sqrt(3 / prod(shape[1:])))
    return tensor(f"{case}:{name}", shape, 0.1) + (1 if name.endswith("gain") else 0)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["case"])
@pytest.mark.parametrize("order", ["frames", "channels"])
def test_golden_numbers(case, order):
    args = dict(case["args"])
    width = args.pop("width", case["shape"][1])
    if "rotary" in args:
        args["positions"] = "rotary" if args.pop("rotary") else "none"
    module = build(case["block"], args, width, case["shape"][1])
    module.load_state_dict(
        {
            name.replace("gain", "weight"): golden_weight(case["case"], name, shape)
            for name, shape in case["tensors"].items()
        }
    )
    x = tensor(f"{case['case']}:x", case["shape"])
    if order == "frames":
        x = x.transpose(1, 2).contiguous().transpose(1, 2)
    with torch.no_grad():
        y = module(x)
    assert np.abs(y.numpy() - OUTPUTS[case["case"]]).max() < 1e-5


@pytest.mark.parametrize(("name", "args"), BLOCKS)
def test_parameters(name, args):
    layers = PARAMETERS[name].split() + (["down", "up"] if args.get("factor") == 2 else [])
    expected = [f"{layer}.{part}" for layer in layers for part in ("weight", "bias")]
    assert list(build(name, args).state_dict()) == expected


@pytest.mark.parametrize("feed_forward", [False, True])
@pytest.mark.parametrize("factor", [1, 2])
@pytest.mark.parametrize("positions", ["rotary", "none"])
def test_attention_starts_as_the_identity(positions, factor, feed_forward):
    args = {"heads": 4, "positions": positions, "factor": factor, "feed_forward": feed_forward}
    x = clips()
    assert torch.equal(build("temporal_attention", args)(x), x)


@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_convolution_starts_as_the_identity(kernel):
    x = clips()
    assert torch.equal(build("temporal_conv", {"groups": 8, "kernel": kernel})(x), x)


@pytest.mark.parametrize("width", [8, 16, 24])
@pytest.mark.parametrize("factor", [2, 3, 6])
def test_time_down_starts_as_the_first_frame_of_each_group(factor, width):
    x = clips()
    y = build("time_down", {"factor": factor}, width)(x)
    assert torch.equal(y[:, :16], x[:, :width, ::factor])
    assert not y[:, 16:].any()


@pytest.mark.parametrize("width", [8, 16, 24])
@pytest.mark.parametrize("factor", [2, 3, 5])
def test_time_up_starts_as_repetition(factor, width):
    x = clips()
    y = build("time_up", {"factor": factor}, width)(x)
    assert torch.equal(y[:, :16], x[:, :width].repeat_interleave(factor, dim=2))
    assert not y[:, 16:].any()


@pytest.mark.parametrize(("name", "args"), BLOCKS)
def test_every_parameter_learns(name, args):
    module = randomise(build(name, args)).train()
    module(clips()).square().mean().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in module.parameters())


@pytest.mark.parametrize(("name", "args"), BLOCKS)
@pytest.mark.parametrize("batch", [1, 2])
def test_outputs_have_the_frames_outermost_in_memory(name, args, batch):
    module = randomise(build(name, args))
    x = clips(batch)
    y = module(x)
    assert y.transpose(1, 2).is_contiguous()
    assert torch.equal(module(x.contiguous()), y)
    last = module(x.to(memory_format=torch.channels_last_3d))
    torch.testing.assert_close(last, y, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("name", "args"), [each for each in BLOCKS if each[1].get("factor") != 2])
def test_blocks_mix_frames_and_neither_clips_nor_places(name, args):
    module = randomise(build(name, args))
    x = clips().requires_grad_()
    module(x)[0, :, 1, 2, 3].sum().backward()
    reached = x.grad.abs().amax(1) > 0
    place = torch.zeros(4, 6, dtype=torch.bool)
    place[2, 3] = True
    if name == "temporal_conv":  # its norm sees whole frames
        place[:] = True
    assert not reached[1].any()
    assert not reached[0, :, ~place].any()
    assert reached[0, :, 2, 3].sum() > (1 if name != "time_up" else 0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_rotation_of_pairs(dtype):
    x = torch.randn(2, 5, 3, 8).to(dtype)
    y = rotate(x)
    expected = torch.empty(x.shape)
    for frame in range(5):
        for pair in range(4):
            angle = torch.tensor(frame * 10000 ** (-2 * pair / 8))
            first, second = x[:, frame, :, 2 * pair].float(), x[:, frame, :, 2 * pair + 1].float()
            expected[:, frame, :, 2 * pair] = first * angle.cos() - second * angle.sin()
            expected[:, frame, :, 2 * pair + 1] = second * angle.cos() + first * angle.sin()
    torch.testing.assert_close(y, expected.to(dtype), rtol=1e-5 if dtype != torch.bfloat16 else 1e-2, atol=1e-5)
    assert torch.equal(y[:, 0], x[:, 0])
    assert y.is_contiguous() and y.dtype == dtype


def test_rotary_attention_depends_on_differences_of_frames():
    """Shifting all queries and keys by one frame changes no score."""
    queries, keys = torch.randn(2, 1, 6, 1, 8).unbind(0)
    scores = torch.einsum("nqhd,nkhd->nhqk", rotate(queries), rotate(keys))
    shifted = [rotate(torch.cat([torch.zeros(1, 1, 1, 8), each], dim=1))[:, 1:] for each in (queries, keys)]
    torch.testing.assert_close(torch.einsum("nqhd,nkhd->nhqk", *shifted), scores)


def test_many_sequences_attend_in_parts(monkeypatch):
    given = torch.randn(3, 7, 5, 2, 4).unbind(0)
    whole = attend(*given)
    monkeypatch.setattr("builders.blocks.temporal_attention.MOST_SEQUENCES", 3)
    assert torch.equal(attend(*given), whole)
    assert whole.shape == (7, 5, 2, 4)


def test_any_number_of_frames():
    module = randomise(build("temporal_attention", {"heads": 4}))
    assert module(clips(frames=40)).shape == (2, 16, 40, 4, 6)
