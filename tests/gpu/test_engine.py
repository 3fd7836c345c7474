"""How a GPU computes training steps: nothing waits for it, attention in the flash kernel, compiled blocks, bfloat16."""

from __future__ import annotations

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from builders.blocks.attention import Attention
from builders.networks.compiling import compiler_problem
from builders.networks.nested_unet import build_model
from builders.sampling.generation import Request, SamplerSettings, draw_all
from builders.training import phase as phase_module
from builders.training.batches import make_batch
from builders.training.distributed import Processes
from builders.training.phase import Phase
from builders.training.settings import phase_settings
from specs.blocks.attention import AttentionArguments
from specs.load import load_entry
from specs.recipe import load_recipe
from tests.helpers.networks import randomise
from tests.helpers.recorded import recorded_losses

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
    pytest.mark.filterwarnings("default"),
]

SMALL = [
    "phases.p8.steps=6", "phases.p8.batch=4", "phases.p16.steps=6", "phases.p16.batch={r16: 2, r8: 4}",
    "every={checkpoint: 4, evaluate: 0, samples: 0}",
]  # fmt: skip


def trained(folder, *changes):
    return recorded_losses(folder, [*SMALL, *changes], device="cuda")


def test_starting_a_step_does_not_wait_for_the_gpu():
    recipe = load_recipe("micro-test", SMALL)
    processes = Processes("cuda", "bfloat16")
    phase = Phase(phase_settings(recipe, load_entry("mdm-micro").graph, "p8"), processes)
    drawn = {"image": torch.rand(4, 3, 8, 8), "classes": torch.tensor([0, 1, 2, 1]), "key": list("abcd")}
    batch = make_batch(phase.settings.graph, drawn, torch.tensor([1, 300, 600, 999]), torch.Generator())
    batch = batch.to(processes.device)
    assert phase.lag == 1
    phase.start(0, batch).result()
    torch.cuda.set_sync_debug_mode("error")
    try:
        started = phase.start(1, batch)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert started.result().updated


def test_numbers_that_are_read_late_are_the_same(tmp_path, monkeypatch):
    late = trained(tmp_path / "late", "precision=float32")
    monkeypatch.setattr(phase_module, "late_steps", lambda device: 0)
    at_once = trained(tmp_path / "at once", "precision=float32")
    for one, other in zip(late, at_once, strict=True):
        assert one == pytest.approx(other, rel=1e-3)


@pytest.mark.parametrize(("width", "heads"), [(64, 8), (256, 4), (768, 8)])
def test_attention_over_pixels_runs_in_the_flash_kernel(width, heads):
    block = randomise(Attention(AttentionArguments(heads=heads, groups=8), width, width, text_width=None)).cuda()
    x = torch.randn(2, width, 16, 16, device="cuda", requires_grad=True)
    with torch.autocast("cuda", torch.bfloat16):
        with sdpa_kernel(SDPBackend.FLASH_ATTENTION):  # anything else is an error
            found = block(x)
            found.float().square().mean().backward()
        with sdpa_kernel(SDPBackend.MATH):
            expected = block(x.detach())
    torch.testing.assert_close(found.float(), expected.float(), rtol=0.05, atol=0.05)
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("memory", ["{}", "{checkpoint: [r8], rows_per_pass: 2}"])
def test_compiled_blocks_have_the_same_losses(memory, tmp_path):
    problem = compiler_problem(torch.device("cuda"))
    if problem is not None:
        pytest.skip(problem)
    plain = trained(tmp_path / "plain", "precision=float32")
    found = trained(tmp_path / "compiled", "precision=float32", "compile=true", f"memory={memory}")
    for one, other in zip(plain, found, strict=True):
        assert other == pytest.approx(one, rel=0.02)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_channels_last_has_the_same_losses(precision, tmp_path):
    plain = trained(tmp_path / "plain", f"precision={precision}")
    found = trained(tmp_path / "last", f"precision={precision}", "channels_last=true")
    for one, other in zip(plain, found, strict=True):
        assert other == pytest.approx(one, rel=0.03)


def test_samples_in_bfloat16_are_near_to_those_in_float32():
    model = randomise(build_model(load_entry("mdm-nano").graph)).cuda()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.3)
    request = Request((0, 1), classes=(0, 3))
    drawn = {
        precision: draw_all(model, request, SamplerSettings(num_inference_steps=5, precision=precision))
        for precision in ("float32", "bfloat16", "auto")
    }
    for exact, half, auto in zip(*drawn.values(), strict=True):
        assert 0 < (exact - half).abs().max() < 0.2
        assert torch.equal(auto, half)
