"""Validation during training: the loss of every level on the validation split, and a grid of samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from builders.data.images import Images
from builders.diffusion.losses import sample_losses, snr_weights
from builders.diffusion.process import DiffusionProcess
from builders.networks.nested_unet import NestedUNet
from builders.sampling.defaults import GUIDANCE, fit_settings
from builders.sampling.generation import Request, SamplerSettings, draw_all
from builders.sampling.grid import Grid, grid_of_samples
from builders.sampling.nearest import most_compared
from builders.text.encoder import TextEncoder, is_empty
from builders.training.batches import make_batch
from specs.schemas.recipe import DropSpec, LossSpec

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["draw_grid", "draw_samples", "most_compared", "validation_losses"]

#: Number of training images whose captions are used as prompts.
CAPTIONED = 64
#: Largest number of validation images, or frames of clips, that are used.
MOST_IMAGES = 2048


@torch.no_grad()
def validation_losses(
    model: NestedUNet,
    process: DiffusionProcess,
    data: Images,
    batch_size: int = 64,
    draws: int = 1,
    seed: int = 0,
    encoder: TextEncoder | None = None,
) -> dict[str, float]:
    """Return the mean v loss of every level on validation images or clips, with the same times and noise in every call.

    Times are spread evenly over the schedule, which lowers the variance of the mean.

    Args:
        model: Network.
        process: Diffusion process of the network.
        data: Validation images, of which the first 2,048 are used, or clips, up to 2,048 frames. Levels inside those of
            clips are measured on what they see of the clips.
        batch_size: Images or frames per batch.
        draws: Number of times each image or clip is used.
        seed: Seed of times and noise.
        encoder: Text encoder, for a network that reads text.
    """
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(seed)
    loss, weights = LossSpec(space="v"), snr_weights(process, "none")
    sums = dict.fromkeys(model.labels, 0.0)
    frames = model.graph.frames
    count = min(len(data), max(1, MOST_IMAGES // frames))
    total = count * draws
    times = ((torch.arange(total) + 0.5) / total * process.steps).long()[torch.randperm(total, generator=generator)]
    for left in times.split(count):  # one pass over the data each
        for drawn in data.in_order(max(1, batch_size // frames)):
            t, left = left.tensor_split([len(drawn["image"])])
            batch = make_batch(model.graph, drawn, t, generator).to(device)
            z = process.add_noise(batch.images, batch.eps, batch.t)
            predictions = model(z, batch.t, **batch.conditions(encoder))
            losses = sample_losses(predictions, batch.images, batch.eps, batch.t, process, loss, weights)
            for label, each in losses.items():
                sums[label] += each.sum().item()
            if not len(left):
                break
    model.train(was_training)
    return {label: value / total for label, value in sums.items()}


def draw_samples(
    model: NestedUNet,
    data: Images,
    *,
    count: int = 10,
    num_inference_steps: int = 25,
    guidance_scale: float | None = None,
    drop: DropSpec | None = None,
    seed: int = 0,
    encoder: TextEncoder | None = None,
) -> Grid:
    """Draw a grid of samples at every level, each with the training image or clip nearest to it.

    Samples cycle through the classes, or through the different captions of the first training images or clips.

    Args:
        model: Network.
        data: Training images, or clips of the outermost level's size.
        count: Number of samples.
        num_inference_steps: Sampling steps, at most those of the process.
        guidance_scale: Guidance scale; 1 for no guidance. Default: 2, or 1 if the network is not trained for guidance.
        drop: Probabilities of dropping the conditions in training. Default: not known.
        seed: Seed of the first sample. Each sample has its own.
        encoder: Text encoder, for a network that reads text.
    """
    captions, classes, prompts = [f"seed {seed + row}" for row in range(count)], None, None
    if model.graph.classes is not None:
        names = data.card.classes
        classes = tuple(row % model.graph.classes for row in range(count))
        captions = [names[index] if len(names) == model.graph.classes else f"class {index}" for index in classes]
    elif encoder is not None:
        known = _captions(data) or [""]
        captions = [known[row % len(known)] for row in range(count)]
        prompts = tuple(captions)
    request = Request(tuple(range(seed, seed + count)), classes, prompts)
    steps = min(num_inference_steps, model.graph.process.steps)
    chosen = {} if guidance_scale is None else {"guidance_scale": guidance_scale}
    shares = None if drop is None else drop.model_dump()
    settings = fit_settings(
        SamplerSettings(num_inference_steps=steps, **chosen), model.graph, shares, guidance=GUIDANCE, warn=False
    )
    levels = draw_all(model, request, settings, encoder=encoder)
    return grid_of_samples(levels, captions, data.first(most_compared(model.graph.resolution, model.graph.frames)))


def draw_grid(model: NestedUNet, data: Images, **options: Any) -> Image:
    """Draw the contact sheet of :func:`draw_samples`, which has the same arguments."""
    return draw_samples(model, data, **options).sheet


def _captions(data: Images) -> list[str]:
    """Return the different captions of the first images, without empty ones."""
    return [caption for caption in dict.fromkeys(data.first(CAPTIONED)[1]) if not is_empty(caption)]
