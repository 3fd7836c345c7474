"""Samples, grids and held-out losses in bfloat16."""

from __future__ import annotations

import pytest
import torch

from builders.data.open import open_dataset
from builders.diffusion.process import DiffusionProcess
from builders.networks.nested_unet import build_model
from builders.sampling.generation import Request, SamplerSettings, draw_all
from builders.training import validation
from builders.training.validation import draw_samples, validation_losses
from specs.load import load_entry
from tests.helpers.networks import randomise


@pytest.fixture(scope="module")
def model():
    model = randomise(build_model(load_entry("mdm-micro").graph))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.3)
    return model


def test_samples_in_bfloat16_are_near_to_those_in_float32(model):
    request, seen = Request((0, 1), classes=(0, 3)), {}
    hook = model.levels["r8"].head.register_forward_hook(lambda *call: types.append(call[2].dtype))
    for precision in ("auto", "float32", "bfloat16"):
        types: list[torch.dtype] = []
        settings = SamplerSettings(num_inference_steps=3, guidance_scale=2.0, precision=precision)
        seen[precision] = draw_all(model, request, settings)
        assert set(types) == {torch.bfloat16 if precision == "bfloat16" else torch.float32}
    hook.remove()
    for auto, exact, half in zip(*seen.values(), strict=True):
        assert torch.equal(auto, exact)  # on every CPU
        assert half.dtype == torch.float32 and 0 < (exact - half).abs().max() < 0.2


def test_text_encoders_keep_their_precision():
    graph = load_entry("mdm-micro.text").graph
    model, seen = randomise(build_model(graph)), []

    def encoder(prompts):
        layer = torch.nn.Linear(graph.text.width, graph.text.width)
        states = layer(torch.ones(len(prompts), 2, graph.text.width))
        seen.append(states.dtype)
        return states.detach(), torch.ones(len(prompts), 2)

    request, settings = Request((0,), prompts=("a",)), SamplerSettings(num_inference_steps=1, precision="bfloat16")
    draw_all(model, request, settings, encoder=encoder)
    assert seen == [torch.float32]


def test_held_out_losses_in_bfloat16(model):
    val = open_dataset("noto-emoji-64").load(16, split="val")
    process = DiffusionProcess(model.graph)
    exact, half = (validation_losses(model, process, val, precision=precision) for precision in ("float32", "bfloat16"))
    assert exact != half
    assert half == pytest.approx(exact, rel=0.02)


@pytest.mark.parametrize(("precision", "expected"), [("bfloat16", "bfloat16"), ("float16", "auto"), ("auto", "auto")])
def test_grids_are_drawn_in_the_precision_of_the_run(model, precision, expected, monkeypatch):
    seen = []

    def draw(network, request, settings, **options):
        seen.append(settings.precision)
        raise InterruptedError

    monkeypatch.setattr(validation, "draw_all", draw)
    with pytest.raises(InterruptedError):
        draw_samples(model, open_dataset("noto-emoji-64").load(16), precision=precision)
    assert seen == [expected]
