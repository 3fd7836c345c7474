"""Networks, samples and trainings on a GPU agree with those on the CPU. ``pytest -m gpu``."""

from __future__ import annotations

import pytest
import torch

from builders.checkpoints.tensor_file import read_tensors
from builders.networks.nested_unet import build_model
from builders.sampling.generation import Request, SamplerSettings, draw_all
from builders.training.errors import Interrupted
from builders.training.observers import Observer, StepReport
from builders.training.start import train
from specs.load import load_entry
from specs.recipe import load_recipe
from tests.helpers.networks import noise, randomise

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
    # Libraries may warn of what this device or build lacks.
    pytest.mark.filterwarnings("default"),
]

SMALL = [
    "phases.p8.steps=6", "phases.p8.batch=4", "phases.p16.steps=6", "phases.p16.batch={r16: 2, r8: 4}",
    "every={checkpoint: 4, evaluate: 0, samples: 0}",
]  # fmt: skip


@pytest.fixture(autouse=True)
def exact_float32():
    """Products of float32 numbers with all their bits, not with the ten of TF32."""
    flags = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [flag.allow_tf32 for flag in flags]
    for flag in flags:
        flag.allow_tf32 = False
    yield
    for flag, value in zip(flags, before, strict=True):
        flag.allow_tf32 = value


class Losses(Observer):
    """Records the losses of every step."""

    def __init__(self) -> None:
        self.steps: list[dict[str, float]] = []

    def on_step(self, report: StepReport) -> None:
        self.steps.append(dict(report.losses))


@pytest.fixture(scope="module", params=["mdm-nano", "mdm-nano.text", "doll-n32"])
def graph(request):
    return load_entry(request.param).graph


def conditions(graph, rows, device):
    if graph.text is not None:
        generator = torch.Generator().manual_seed(2)
        return {"text": torch.randn(rows, 5, graph.text.width, generator=generator).to(device)}
    return {} if graph.classes is None else {"classes": torch.arange(rows, device=device)}


def test_predictions_equal_those_of_the_cpu(graph):
    model, z = randomise(build_model(graph)), noise(graph, 3)
    with torch.no_grad():
        expected = model(z, [10, 500, 990], **conditions(graph, 3, "cpu"))
        found = model.cuda()([x.cuda() for x in z], [10, 500, 990], **conditions(graph, 3, "cuda"))
    for x, y in zip(found, expected, strict=True):
        torch.testing.assert_close(x.cpu(), y, rtol=1e-3, atol=1e-4)


def test_gradients_equal_those_of_the_cpu(graph):
    gradients = []
    for device in ("cpu", "cuda"):
        model = randomise(build_model(graph)).to(device)
        z = [x.to(device) for x in noise(graph, 2)]
        sum(x.square().mean() for x in model(z, [10, 500], **conditions(graph, 2, device))).backward()
        gradients.append([p.grad.cpu() for p in model.parameters() if p.grad is not None])
    assert len(gradients[0]) == len(gradients[1]) > 50
    norm = torch.stack([x.norm() for x in gradients[0]]).norm()
    difference = torch.stack([(x - y).norm() for x, y in zip(*gradients, strict=True)]).norm()
    assert difference < 1e-3 * norm


@pytest.mark.parametrize("sampler", ["ddim", "ddpm", "dpm++"])
def test_a_seed_draws_the_same_sample(sampler):
    """Noise is drawn on the CPU, so that a seed means the same on every device."""
    graph = load_entry("mdm-nano").graph
    model = randomise(build_model(graph))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.3)  # steps amplify rounding less
    request, settings = (
        Request((0, 1), classes=(0, 3)),
        SamplerSettings(sampler=sampler, num_inference_steps=5, precision="float32"),
    )
    expected = draw_all(model, request, settings)
    found = draw_all(model.cuda(), request, settings)
    for x, y in zip(found, expected, strict=True):
        assert (x - y).abs().max() < 0.02


def test_a_training_follows_that_of_the_cpu(tmp_path):
    recipe = load_recipe("micro-test", [*SMALL, "precision=float32"])
    losses = []
    for device in ("cpu", "cuda"):
        losses.append(Losses())
        train(recipe, tmp_path / device, device=device, observer=losses[-1])
    assert len(losses[0].steps) == 12
    for on_cpu, on_gpu in zip(losses[0].steps, losses[1].steps, strict=True):
        assert on_gpu == pytest.approx(on_cpu, rel=0.02)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_a_training_resumes(precision, tmp_path):
    recipe = load_recipe("micro-test", [*SMALL, f"precision={precision}"])
    straight = read_tensors(train(recipe, tmp_path / "straight", device="cuda"))[0]
    calls = iter(range(100))
    with pytest.raises(Interrupted):
        train(recipe, tmp_path / "parts", device="cuda", stop=lambda: next(calls) == 7)
    resumed = read_tensors(train(recipe, tmp_path / "parts", device="cuda"))[0]
    assert straight.keys() == resumed.keys()
    for name, value in straight.items():
        torch.testing.assert_close(resumed[name].float(), value.float(), rtol=1e-2, atol=1e-3, msg=name)


def test_memory_of_a_training_step():
    """The rules are lower bounds of what torch allocates, and near to it."""
    from registry.costs.memory import activation_memory

    graph = load_entry("mdm-nano").graph
    model, rows = build_model(graph).cuda(), 32
    z = [x.cuda() for x in noise(graph, rows)]
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    predictions = model(z, [500] * rows, classes=[0] * rows)
    saved = torch.cuda.memory_allocated() - before
    rule = rows * activation_memory(graph)[0].training
    assert len(predictions) == 3
    assert saved == pytest.approx(rule, rel=0.1)
